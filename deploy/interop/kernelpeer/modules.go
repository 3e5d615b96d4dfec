//go:build linux

package kernelpeer

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// wanted are the guest's modules in the order in which they are loaded. aes, ctr, cbc and ghash come before
// gcm, or an rfc4106 SA fails with "unable to initialize cryptographic operations". What a kernel does not
// have (aesni_intel on some machines) is left out.
func wanted() []string {
	return strings.Fields(`virtio_pci virtio_net 9pnet 9pnet_virtio 9p overlay
		aes_generic aesni_intel ctr cbc ecb ghash_generic ghash_clmulni_intel gcm ccm cmac xcbc hmac des_generic
		sha1_generic sha256_generic sha512_generic chacha_generic chacha_x86_64 poly1305_generic poly1305_x86_64
		chacha20poly1305 authenc authencesn seqiv echainiv sha3_generic jitterentropy_rng drbg crypto_null
		esp4 esp6 ah4 ah6 xfrm_user af_key xfrm_interface xfrm4_tunnel xfrm6_tunnel tun veth`)
}

// dependencies is modules.dep: a module's name → its file and those of the modules that it needs, in the order in
// which they are loaded, relative to the folder.
type dependencies map[string][]string

func readDependencies(folder string) (dependencies, error) {
	raw, err := os.ReadFile(filepath.Join(folder, "modules.dep"))
	if err != nil {
		return nil, fmt.Errorf("kernelpeer: %w", err)
	}
	d := dependencies{}
	for line := range strings.Lines(string(raw)) {
		file, needs, found := strings.Cut(strings.TrimSpace(line), ":")
		if !found {
			continue
		}
		files := append([]string{file}, strings.Fields(needs)...)
		slices.Reverse(files) // what is needed most stands last
		d[moduleName(file)] = files
	}
	return d, nil
}

// moduleName is the name in modules.dep's terms: dashes and underscores are one, the compression is not part of it.
func moduleName(file string) string {
	name, _, _ := strings.Cut(filepath.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// order lists the files to load, each once, each behind those that it needs.
func (d dependencies) order(names []string) []string {
	var files []string
	seen := map[string]bool{}
	for _, name := range names {
		for _, file := range d[name] {
			if !seen[file] {
				seen[file] = true
				files = append(files, file)
			}
		}
	}
	return files
}

// readModule returns the module as the kernel loads it: uncompressed.
func readModule(path string) ([]byte, error) {
	var decompress string
	switch filepath.Ext(path) {
	case ".xz":
		decompress = "xz"
	case ".zst":
		decompress = "zstd"
	case ".gz":
		decompress = "gzip"
	default:
		return os.ReadFile(path)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(decompress, "-dc", path)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", decompress, path, err, stderr.String())
	}
	return out, nil
}
