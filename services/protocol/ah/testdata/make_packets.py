# Makes scapy.txt: datagrams with AH in transport and tunnel mode, of every integrity algorithm that scapy (2.5.0,
# with Python's cryptography, which is OpenSSL) knows. Run with Debian's python3-scapy:
# /usr/bin/python3 make_packets.py >scapy.txt
#
# AES-GMAC is not scapy's: the tag is OpenSSL's, over what scapy says that an ICV covers. That the IV counts as a
# part of the field that is zeroed is our reading of RFC 4543 section 4.
import struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from scapy.layers.inet import IP, UDP, IPOption, IPOption_LSRR, IPOption_NOP, IPOption_Router_Alert, IPOption_RR
from scapy.layers.inet import IPOption_Security, IPOption_SSRR, IPOption_Timestamp, IPOption_Traceroute
from scapy.layers.inet6 import HBHOptUnknown, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, RouterAlert
from scapy.layers.ipsec import AH, AUTH_ALGOS, SecurityAssociation, zero_mutable_fields
from scapy.packet import raw

print("# Datagrams with AH made by scapy 2.5.0 (testdata/make_packets.py): name, integrity algorithm, ESN, sequence number")
print("# in hexadecimal, key material, next header, length of the payload behind the AH, datagram as it leaves its source.")


class GMAC:
    name, icv_size = "AES-GMAC", 24

    def sign(self, pkt, key, esn_en=False, esn=0):
        seq = ((esn << 32) if esn_en else 0) + pkt[AH].seq
        iv = struct.pack("!Q", seq)
        covered = raw(zero_mutable_fields(pkt.copy(), sending=True)) + (struct.pack("!L", esn) if esn_en else b"")
        pkt[AH].icv = iv + AESGCM(key[:-4]).encrypt(key[-4:] + iv, b"", covered)
        return pkt


AUTH_ALGOS[GMAC.name] = GMAC()

SPI = 0xC0FFEE02
MACS = {"sha256": ("SHA2-256-128", 32), "sha1": ("HMAC-SHA1-96", 20), "sha384": ("SHA2-384-192", 48),
        "sha512": ("SHA2-512-256", 64), "aescmac": ("AES-CMAC-96", 16), "aes128gmac": (GMAC.name, 20),
        "aes192gmac": (GMAC.name, 28), "aes256gmac": (GMAC.name, 36)}
A, B, C, D = "10.1.2.3", "10.4.5.6", "10.7.8.9", "10.10.11.12"
A6, B6, C6, D6 = "2001:db8:1::a", "2001:db8:2::b", "2001:db8:3::c", "2001:db8:4::d"


def stretch(n, step):
    return bytes((i * step + 5) % 256 for i in range(n))


def v4(n, **fields):
    return IP(src=A, dst=B, id=n + 1, ttl=63, **fields) / UDP(sport=7, dport=9) / stretch(n, 3)


def v6(n, *headers):
    p = IPv6(src=A6, dst=B6, tc=0xB9, fl=0x54321, hlim=63)
    for h in headers:
        p /= h
    return p / UDP(sport=7, dport=9) / stretch(n, 3)


# Options of unknown type: 0x1e may not change, 0x3e may.
FIXED, CHANGING = HBHOptUnknown(otype=0x1E, optdata=stretch(5, 9)), HBHOptUnknown(otype=0x3E, optdata=stretch(7, 17))

CASES = {
    "v4": (v4(37), None),
    "v4-empty": (IP(src=A, dst=B, id=3, proto=59), None),
    "v4-tos-df": (v4(64, tos=0xB9, flags="DF"), None),
    "v4-immutable": (v4(8, options=[IPOption_NOP(), IPOption_Router_Alert(), IPOption_Security(), IPOption(b"\x85\x04\x01\x02"),
                                    IPOption(b"\x86\x06\x00\x00\x00\x01"), IPOption(b"\x95\x06\x0a\x00\x00\x01")]), None),
    "v4-mutable": (v4(9, options=[IPOption_RR(routers=[C, D]), IPOption_NOP(), IPOption_Timestamp(), IPOption(b"\x1e\x05abc")]), None),
    "v4-superseded": (v4(9, options=[IPOption(b"\x88\x04\x12\x34"), IPOption_Traceroute(), IPOption_Router_Alert()]), None),
    # A route whose hops have all been made: scapy does not predict IPv4's destination.
    "v4-lsrr": (v4(10, options=[IPOption_LSRR(pointer=12, routers=[C, D])]), None),
    "v4-ssrr": (v4(10, options=[IPOption_NOP(), IPOption_SSRR(pointer=8, routers=[D])]), None),
    "v4-end": (v4(11, options=[IPOption_Router_Alert(), IPOption(b"\x00")]), None),
    "v4-in-v4": (v4(33), IP(src=C, dst=D, id=7, tos=0x0A)),
    "v6-in-v4": (v6(33), IP(src=C, dst=D, id=8, flags="DF", options=[IPOption_Router_Alert()])),
    "v6": (v6(37), None),
    "v6-hop": (v6(12, IPv6ExtHdrHopByHop(options=[RouterAlert(), FIXED, CHANGING])), None),
    "v6-dest": (v6(13, IPv6ExtHdrDestOpt(options=[CHANGING, FIXED])), None),
    "v6-route": (v6(14, IPv6ExtHdrRouting(addresses=[C6, D6])), None),
    "v6-route-one": (v6(14, IPv6ExtHdrRouting(addresses=[D6])), None),
    "v6-arrived": (v6(15, IPv6ExtHdrRouting(addresses=[], segleft=0)), None),
    "v6-all": (v6(16, IPv6ExtHdrHopByHop(options=[CHANGING]), IPv6ExtHdrDestOpt(options=[FIXED, CHANGING]),
                  IPv6ExtHdrRouting(addresses=[C6, D6, A6]), IPv6ExtHdrDestOpt(options=[CHANGING])), None),
    "v4-in-v6": (v4(33), IPv6(src=C6, dst=D6, tc=2, fl=9)),
    "v6-in-v6": (v6(33), IPv6(src=C6, dst=D6) / IPv6ExtHdrHopByHop(options=[FIXED])),
}


def emit(name, mac, esn):
    inner, tunnel = CASES[name]
    algo, n = MACS[mac]
    key, seq = stretch(n, 11), 0x12345678 + len(name)
    sa = SecurityAssociation(AH, spi=SPI, auth_algo=algo, auth_key=key, tunnel_header=tunnel, esn_en=esn, esn=5 if esn else 0)
    sealed = sa.encrypt(inner.__class__(raw(inner)), seq_num=seq)
    print(name, mac, int(esn), "%x" % ((5 << 32 if esn else 0) + seq), key.hex(), sealed[AH].nh, len(raw(sealed[AH].payload)),
          raw(sealed).hex())


for name in CASES:
    for esn in (False, True):
        emit(name, "sha256", esn)
for mac in MACS:
    for name in ("v4", "v4-mutable", "v6-in-v4", "v6-all", "v4-in-v6"):
        for esn in (False, True):
            if mac != "sha256":
                emit(name, mac, esn)
