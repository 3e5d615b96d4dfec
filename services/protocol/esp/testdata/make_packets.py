# Makes scapy.txt: ESP packets in tunnel mode of every suite that scapy (2.5.0, with Python's cryptography,
# which is OpenSSL) knows. Run with Debian's python3-scapy: python3 make_packets.py >scapy.txt
from scapy.layers.inet import IP, UDP
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.packet import raw

print("# ESP packets made by scapy 2.5.0 (testdata/make_packets.py): suite, ESN, sequence number, key material, inner")
print("# packet, ESP packet; numbers and bytes in hexadecimal.")

SPI = 0xC0FFEE01
MACS = {"sha1": ("HMAC-SHA1-96", 20), "sha256": ("SHA2-256-128", 32), "sha384": ("SHA2-384-192", 48),
        "sha512": ("SHA2-512-256", 64), "aescmac": ("AES-CMAC-96", 16)}


def stretch(n, step):
    return bytes((i * step + 5) % 256 for i in range(n))


def emit(name, crypt, crypt_len, iv_len, mac=None, mac_len=0, icv=None):
    # scapy knows ESN with combined modes and AH only.
    for esn in (False,) if mac else (False, True):
        for n in (0, 1, 37, 200):
            key, auth = stretch(crypt_len, 7), stretch(mac_len, 11)
            inner = IP(src="10.1.2.3", dst="10.4.5.6", id=n, ttl=63) / UDP(sport=7, dport=9) / stretch(n, 3)
            seq = 0x12345678 + n
            sa = SecurityAssociation(ESP, spi=SPI, crypt_algo=crypt, crypt_key=key or None, crypt_icv_size=icv,
                                     auth_algo=mac, auth_key=auth or None, tunnel_header=IP(src="1.1.1.1", dst="2.2.2.2"),
                                     esn_en=esn, esn=5 if esn else 0)
            packet = sa.encrypt(inner, seq_num=seq, iv=stretch(iv_len, 13 + n) if iv_len else None)
            print(name, int(esn), "%x" % ((5 << 32 if esn else 0) + seq), (key + auth).hex(),
                  raw(inner).hex(), raw(packet[ESP]).hex())


for bits in (128, 192, 256):
    emit("aes%dgcm16" % bits, "AES-GCM", bits // 8 + 4, 8)
    for icv in (8, 12, 16):
        emit("aes%dccm%d" % (bits, icv), "AES-CCM", bits // 8 + 3, 8, icv=icv)
emit("chacha20poly1305", "CHACHA20-POLY1305", 36, 8)
for mac, (algo, n) in MACS.items():
    for bits in (128, 192, 256):
        emit("aes%d-%s" % (bits, mac), "AES-CBC", bits // 8, 16, algo, n)
        emit("aes%dctr-%s" % (bits, mac), "AES-CTR", bits // 8 + 4, 8, algo, n)
    emit("null-%s" % mac, "NULL", 0, 0, algo, n)
    emit("3des-%s" % mac, "3DES", 24, 8, algo, n)
