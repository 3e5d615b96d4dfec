#!/usr/bin/python3
"""Opens captured ESP in UDP (RFC 3948) with scapy's IPsec, which knows nothing of Sallyport.

Usage: open_esp.py CAPTURE KEYS
KEYS has a line "SPI ENCRYPTION KEYMAT" for each association. Prints one JSON object for each datagram
that goes to or comes from UDP port 4500. "icv" is "good" where the ICV verifies with extended sequence
numbers (RFC 4303 section 2.2.1, whose high half is 0 here), "bad" where it does not.
"""
import json
import sys

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6
from scapy.layers.ipsec import ESP, IPSecIntegrityError, SecurityAssociation
from scapy.utils import PcapReader

CIPHERS = {
    "aes128gcm16": "AES-GCM",
    "aes256gcm16": "AES-GCM",
    "chacha20poly1305": "CHACHA20-POLY1305",
}


def associations(path):
    """SPI -> association. Both ends write each of theirs, so that every line comes twice."""
    found = {}
    with open(path, encoding="ascii") as lines:
        for line in lines:
            spi, cipher, key = line.split()
            found[int(spi, 16)] = SecurityAssociation(
                ESP, spi=int(spi, 16), crypt_algo=CIPHERS[cipher], crypt_key=bytes.fromhex(key[2:]), esn_en=True, esn=0)
    return found


def inner(next_header, data):
    """What is in the tunnel: addresses, kind and payload."""
    if next_header == 59:  # RFC 4303 section 2.6
        return {"kind": "dummy"}
    if next_header not in (4, 41):
        return {"kind": "next header %d" % next_header}
    packet = IP(data) if next_header == 4 else IPv6(data)
    told = {"src": packet.src, "dst": packet.dst, "kind": "other"}
    for layer, kind in ((ICMP, "icmp"), (ICMPv6EchoRequest, "icmpv6"), (ICMPv6EchoReply, "icmpv6"), (TCP, "tcp")):
        if layer in packet:
            part = packet[layer]
            told["kind"] = kind if layer is TCP else "%s %d" % (kind, part.type)
            payload = part.data if kind == "icmpv6" else bytes(part.payload)
            told["payload"] = bytes(payload).hex()
    return told


def tell(outer, datagram, known):
    told = {"outer": outer.version}
    if datagram == b"\xff":
        return dict(told, kind="keepalive")
    if len(datagram) < 8 or datagram[:4] == bytes(4):
        return dict(told, kind="not ESP")
    esp = ESP(datagram)
    told.update(spi=esp.spi, seq=esp.seq, iv=datagram[8:16].hex())
    sa = known.get(esp.spi)
    if sa is None:
        return dict(told, icv="no key")
    try:
        plain = sa.crypt_algo.decrypt(sa, esp, sa.crypt_key, sa.crypt_algo.icv_size, esn_en=sa.esn_en, esn=sa.esn)
    except IPSecIntegrityError:
        return dict(told, icv="bad")
    return dict(told, icv="good", **inner(plain.nh, plain.data))


def main(capture, keys):
    known = associations(keys)
    for packet in PcapReader(capture):
        if UDP not in packet or 4500 not in (packet[UDP].sport, packet[UDP].dport):
            continue
        outer = packet[IP] if IP in packet else packet[IPv6]
        udp = packet[UDP]
        print(json.dumps(tell(outer, bytes(udp.payload)[:udp.len - 8], known)))


main(*sys.argv[1:])
