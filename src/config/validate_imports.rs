//! What `import` means: names become overlays of the file.

use std::collections::HashMap;

use super::errors::Problems;
use super::raw::Raw;
use super::raw_imports::{Import, RawImports};
use super::reader::{Place, labelled};
use super::suggest::did_you_mean;
use crate::tables::{Imports, OverlayId, Rules};

/// What may be reached: by the access side, then by each overlay.
pub(super) fn imports(raw: &Raw, problems: &mut Problems) -> Vec<Imports> {
    let names = raw.overlays.iter().enumerate().rev();
    let names =
        names.filter_map(|(row, o)| Some((o.name.as_ref()?.value.as_str(), u16::try_from(row).ok()?))).collect();
    let access = side(&raw.access_imports, "access.import", &names, problems);
    let overlays = raw.overlays.iter().enumerate().map(|(row, overlay)| {
        let name = overlay.name.as_ref().map(|name| name.value.as_str());
        side(&overlay.imports, &labelled(Place::Row("overlay", row).key("import"), name), &names, problems)
    });
    [access].into_iter().chain(overlays).collect()
}

fn side(imports: &RawImports, key: &str, names: &HashMap<&str, u16>, problems: &mut Problems) -> Imports {
    let Some(list) = imports.known() else { return Imports::All };
    let (mut rules, mut all) = (Rules::default(), false);
    for import in list.value.iter().flatten() {
        match &import.value {
            Import::All => all = true,
            Import::Native => rules.natives = true,
            Import::Prefix(prefix) => rules.prefixes.push(*prefix),
            Import::Overlay(name) => match names.get(name.as_str()) {
                Some(row) => rules.overlays.push(OverlayId(*row)),
                None => {
                    let hint = did_you_mean(name, names.keys().copied());
                    let shown: String = name.chars().take(60).flat_map(char::escape_debug).collect();
                    let message = format!("`{shown}` is neither an overlay of this file nor a prefix{hint}");
                    problems.add(&import.span, key, message);
                }
            },
        }
    }
    if all { Imports::All } else { Imports::Only(rules) }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn load(access: &str, blue: &str) -> Result<Vec<Imports>, String> {
        let overlay = |name: &str, n: u8, import: &str| {
            format!(
                "[[overlay]]\nname = \"{name}\"\nvni = {n}\nlocal = \"192.0.2.{n}\"\nmac = \"02:00:00:00:00:0{n}\"\n{import}\n"
            )
        };
        let ports =
            "[[port]]\ninterface = \"eth0\"\nrole = \"underlay\"\n[[port]]\ninterface = \"eth1\"\nrole = \"access\"\n";
        let text = [ports, access, &overlay("blue", 1, blue), &overlay("green", 2, "")].concat();
        Config::parse(&text, "f.toml").map(|config| config.imports).map_err(|errors| errors.to_string())
    }

    #[test]
    fn names_words_and_prefixes_say_what_may_be_reached() {
        assert_eq!(load("", ""), Ok(vec![Imports::All; 3]));
        assert_eq!(load("[access]\nimport = [\"blue\", \"all\"]\n", ""), Ok(vec![Imports::All; 3]));
        let prefixes = vec!["10.245.7.0/24".parse().unwrap(), "fd00:245::/48".parse().unwrap()];
        let access = Rules { overlays: vec![OverlayId(1)], natives: false, prefixes };
        let blue = Rules { overlays: vec![], natives: true, prefixes: vec![] };
        assert_eq!(
            load("[access]\nimport = [\"green\", \"10.245.7.0/24\", \"fd00:245::/48\"]\n", "import = [\"native\"]"),
            Ok(vec![Imports::Only(access), Imports::Only(blue), Imports::All])
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (access, blue, told) in [
            ("", "import = [\"gren\"]", "`gren` is neither an overlay of this file nor a prefix"),
            ("[access]\nimport = [\"10.245.7.1/24\"]\n", "", "10.245.7.0/24"),
            ("[access]\nimport = []\n", "", "an array of at least one of"),
            ("[access]\nimport = [7]\n", "", "the name of an overlay, or a prefix"),
            ("[access]\nimports = [\"all\"]\n", "", "import"),
        ] {
            let said = load(access, blue).unwrap_err();
            assert!(said.contains(told) && said.contains("import"), "{said}");
        }
    }
}
