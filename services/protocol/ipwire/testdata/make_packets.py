# Makes scapy.txt: datagrams with checksums as scapy (2.5.0) computes them. Run with Debian's python3-scapy:
# python3 make_packets.py >scapy.txt
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import (ICMPv6EchoRequest, ICMPv6PacketTooBig, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment,
                                IPv6ExtHdrHopByHop, IPv6ExtHdrRouting)
from scapy.packet import Raw, raw

print("# Made by scapy 2.5.0 (testdata/make_packets.py). Lines:")
print("# checksum NAME PACKET TRANSLATED: a packet, and with another source and the checksum for that")
print("# toobig NAME MTU PACKET MESSAGE: a packet, and what says that it is too big")
print("# ecn NAME ECN PACKET MARKED: a packet, and with that ECN")

SRC4, NAT4, DST4 = "10.1.2.3", "203.0.113.99", "198.51.100.7"
SRC6, NAT6, DST6 = "fd00:1::2", "2001:db8:9::3", "2001:db8:ffff::4"


def data(n):
    return Raw(bytes((i * 29 + n) % 256 for i in range(n)))


def heads4(src):
    return {"4": IP(src=src, dst=DST4, id=77, ttl=61, tos=0x28),
            "4-options": IP(src=src, dst=DST4, id=78, ttl=61, options=[IPOption_Router_Alert()])}


def heads6(src):
    base = IPv6(src=src, dst=DST6, hlim=61, tc=0x28, fl=0x12345)
    return {"6": base,
            "6-destination": base / IPv6ExtHdrDestOpt(),
            "6-all": base / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting(addresses=[], segleft=0) / IPv6ExtHdrDestOpt()}


def uppers(six, n):
    yield "udp", UDP(sport=4500, dport=53) / data(n)
    yield "tcp", TCP(sport=4500, dport=443, seq=n, flags="PA", options=[("MSS", 1400)]) / data(n)
    if six:
        yield "icmpv6", ICMPv6EchoRequest(id=7, seq=n, data=raw(data(n)))


for n in (0, 1, 2, 37, 500):
    for heads, a, b in ((heads4, SRC4, NAT4), (heads6, SRC6, NAT6)):
        for name, head in heads(a).items():
            for kind, upper in uppers(name[0] == "6", n):
                print("checksum %s-%s-%d" % (name, kind, n), raw(head / upper).hex(), raw(heads(b)[name] / upper).hex())

def carry(head, payload):
    """head with the bytes of a whole UDP datagram behind it."""
    head = head.copy()
    head.fields["proto" if head.version == 4 else "nh"] = 17
    return raw(head / Raw(payload))


# The surplus behind the length that UDP says is not in its checksum (RFC 9868).
for name, heads, a, b in (("4", heads4, SRC4, NAT4), ("6", heads6, SRC6, NAT6)):
    udps = [raw(heads(x)[name] / UDP(sport=1, dport=2) / data(33))[-41:] for x in (a, b)]
    for surplus in (b"s", b"surplus!"):
        print("checksum %s-surplus" % name, *(carry(heads(x)[name], u + surplus).hex() for x, u in zip((a, b), udps)))

# A UDP checksum that is 0 is sent as 0xffff, before and after.
for name, heads, a, b in (("4", heads4, SRC4, NAT4), ("6", heads6, SRC6, NAT6)):
    for x in (a, b):
        zero = raw(heads(x)[name] / UDP(sport=1, dport=2) / Raw(b"\0\0"))[-4:-2]
        print("checksum %s-zero" % name, *(raw(heads(y)[name] / UDP(sport=1, dport=2) / Raw(zero)).hex() for y in (a, b)))

for n, mtu in ((0, 68), (10, 1280), (519, 1400), (520, 65535), (521, 1280), (1175, 1280), (1176, 1400), (1177, 1280), (1400, 1399)):
    packet = raw(IP(src=SRC4, dst=DST4, id=n, flags="DF") / UDP(sport=9, dport=10) / data(n))
    quote = packet[:576 - 28]
    message = IP(src=DST4, dst=SRC4, id=0, flags="DF", ttl=64) / ICMP(type=3, code=4, nexthopmtu=mtu) / Raw(quote)
    print("toobig 4-%d" % n, mtu, packet.hex(), raw(message).hex())
    packet = raw(IPv6(src=SRC6, dst=DST6) / IPv6ExtHdrDestOpt() / UDP(sport=9, dport=10) / data(n))
    quote = packet[:1280 - 48]
    message = IPv6(src=DST6, dst=SRC6, hlim=64) / ICMPv6PacketTooBig(mtu=mtu) / Raw(quote)
    print("toobig 6-%d" % n, mtu, packet.hex(), raw(message).hex())
# A first fragment.
packet = raw(IPv6(src=SRC6, dst=DST6) / IPv6ExtHdrFragment(m=1, id=5, nh=17) / UDP(sport=9, dport=10, chksum=7, len=99) / data(40))
message = IPv6(src=DST6, dst=SRC6, hlim=64) / ICMPv6PacketTooBig(mtu=1300) / Raw(packet)
print("toobig 6-first", 1300, packet.hex(), raw(message).hex())

for dscp in (0, 0xb8, 0xfc):
    for was in range(4):
        for ecn in range(4):
            for name, make in (("4", lambda tos: IP(src=SRC4, dst=DST4, tos=tos, options=[IPOption_Router_Alert()])),
                               ("6", lambda tos: IPv6(src=SRC6, dst=DST6, tc=tos, fl=0xfffff))):
                print("ecn %s-%02x" % (name, dscp | was), ecn, raw(make(dscp | was) / UDP() / data(3)).hex(),
                      raw(make(dscp | ecn) / UDP() / data(3)).hex())
