#!/usr/bin/env bash
# Makes sure that what the demo and the tests run is there: installs Debian packages as root, else
# names what is missing. With the argument "demo" only what the demo needs,
# with "dns" only what `make interop-dns` needs.
set -euo pipefail

if ! command -v go >/dev/null; then
  echo "setup: Go is missing: install Go 1.26.4 or newer from https://go.dev/dl/ and put it into PATH" >&2
  exit 1
fi

# command:package
needs=(ip:iproute2 nft:nftables ping:iputils-ping iperf3:iperf3 tshark:tshark tcpdump:tcpdump)
if [ "${1:-}" = dns ]; then
  needs=(named:bind9 dnssec-signzone:bind9-utils unbound:unbound)
fi
missing=()
for need in "${needs[@]}"; do
  PATH="$PATH:/usr/sbin:/sbin" command -v "${need%%:*}" >/dev/null || missing+=("${need##*:}")
done
# The wire format's test opens ESP with scapy, by Debian's own Python.
[ "${1:-}" = dns ] || /usr/bin/python3 -c 'import cryptography, scapy' 2>/dev/null || missing+=(python3-scapy python3-cryptography)
# The interoperability test boots Debian's stock kernel, which has ESP and AH, in an emulator; elsewhere it is skipped.
# The cloud kernel will not do: it has no 9p.
peer() {
  command -v qemu-system-x86_64 >/dev/null || missing+=(qemu-system-x86)
  find /boot -maxdepth 1 -name 'vmlinuz-*-amd64' ! -name '*-cloud-*' ! -name '*-rt-*' | grep -q . ||
    missing+=(linux-image-amd64)
}
if [ -z "${1:-}" ] && [ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] && grep -qx ID=debian /etc/os-release; then
  peer
fi
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "setup: missing packages: ${missing[*]}" >&2
  echo "setup: on Debian or Ubuntu, run: sudo apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 1
fi
echo "setup: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
