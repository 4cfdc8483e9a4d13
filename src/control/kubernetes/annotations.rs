//! The names of flannel's annotations.

/// What the names of flannel's annotations begin with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnnotationPrefix(Box<str>);

impl AnnotationPrefix {
    /// Reads what flanneld is given as `--kube-annotation-prefix`, by its rules: a domain, alone or with a `/` and the
    /// beginning of a name, which is joined to the rest by a `-`.
    ///
    /// # Errors
    /// With what is expected.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        let (domain, name) = text.split_once('/').unwrap_or((text, ""));
        let fits = |s: &str| s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b));
        let labels = domain.split('.').filter(|label| !label.is_empty() && fits(label)).count();
        if labels < 2 || labels != domain.split('.').count() || !fits(name) {
            return Err(
                "a domain such as flannel.alpha.coreos.com, or one with the beginning of a name: example.org/blue",
            );
        }
        let dash = if name.is_empty() || name.ends_with('-') { "" } else { "-" };
        Ok(Self(format!("{domain}/{name}{dash}").into()))
    }

    /// The name of one annotation.
    pub fn key(&self, name: &str) -> String {
        format!("{}{name}", self.0)
    }
}

impl Default for AnnotationPrefix {
    fn default() -> Self {
        Self("flannel.alpha.coreos.com/".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_is_completed_as_flannel_does() {
        let whole = |text| AnnotationPrefix::new(text).map(|p| p.key("public-ip"));
        assert_eq!(whole("flannel.alpha.coreos.com").unwrap(), "flannel.alpha.coreos.com/public-ip");
        assert_eq!(whole("flannel.alpha.coreos.com/").unwrap(), AnnotationPrefix::default().key("public-ip"));
        assert_eq!(whole("example.org/blue").unwrap(), "example.org/blue-public-ip");
        assert_eq!(whole("example.org/blue-").unwrap(), "example.org/blue-public-ip");
        for bad in ["", "flannel", "a..b", "Example.org", "a.b/c/d", "a.b/c d", ".a.b"] {
            assert!(whole(bad).unwrap_err().contains("a domain such as"), "{bad}");
        }
    }
}
