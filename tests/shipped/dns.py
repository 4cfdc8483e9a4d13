"""A DNS server on 127.0.0.1 that knows one name: dns.py NAME ADDRESS."""

import socket
import struct
import sys

A, IN, TTL = 1, 1, 60
NOBODY = 3  # NXDOMAIN
HEADER = 12

name, address = sys.argv[1:]
known = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
while True:
    query, client = server.recvfrom(512)
    end = query.index(b"\0", HEADER) + 1
    asked, kind = query[HEADER:end].lower(), struct.unpack_from("!H", query, end)[0]
    answer = b""
    if asked == known and kind == A:
        # the name is where the question has it
        answer = struct.pack("!HHHIH", 0xC000 | HEADER, A, IN, TTL, 4) + socket.inet_aton(address)
    # a recursive answer to a recursive question; other kinds of a known name have no records
    flags = 0x8180 | (0 if asked == known else NOBODY)
    counts = struct.pack("!HHHHH", flags, 1, 1 if answer else 0, 0, 0)
    server.sendto(query[:2] + counts + query[HEADER : end + 4] + answer, client)
