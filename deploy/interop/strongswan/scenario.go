//go:build linux

package strongswan

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:embed scenarios/*.yaml
var files embed.FS

// Scenario is one file.
type Scenario struct {
	Name string `yaml:"-"` // of the file
	// Title says in a line what is shown.
	Title string `yaml:"title"`
	// NAT is "ours" or "theirs" when that end is behind one.
	NAT string `yaml:"nat"`
	// Certificates is the kind of keys with which both ends prove themselves by certificates, as MakeCertificates has it;
	// without it they do by a pre-shared key. Misnamed gives strongSwan one of another name.
	Certificates string `yaml:"certificates"`
	Misnamed     bool   `yaml:"misnamed"`
	// Ours is spec of the Peer. What is missing is filled in: hosts, addresses, identities, credentials, traffic.
	Ours map[string]any `yaml:"ours"`
	// Secret is the pre-shared key that we have; the default is Theirs.Secret's.
	Secret string `yaml:"secret"`
	Theirs Theirs `yaml:"theirs"`
	// Steps are of the vocabulary in step.go.
	Steps []string `yaml:"steps"`
}

// Theirs is what strongSwan's configuration says.
type Theirs struct {
	// Connection has settings of connections.peer, Child those of its child.
	Connection map[string]string `yaml:"connection"`
	Child      map[string]string `yaml:"child"`
	Local      map[string]string `yaml:"local"`
	Remote     map[string]string `yaml:"remote"`
	Secret     string            `yaml:"secret"`
	// Charon has settings of the daemon.
	Charon map[string]string `yaml:"charon"`
}

// DefaultSecret is the pre-shared key of scenarios that name none.
const DefaultSecret = "a secret of these tests only"

// Scenarios reads all files, in the order of their names.
func Scenarios() ([]Scenario, error) {
	names, err := fs.Glob(files, "scenarios/*.yaml")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var all []Scenario
	for _, name := range names {
		data, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		s := Scenario{Name: strings.TrimSuffix(path.Base(name), ".yaml")}
		decoder := yaml.NewDecoder(bytes.NewReader(data))
		decoder.KnownFields(true)
		if err := decoder.Decode(&s); err != nil {
			return nil, fmt.Errorf("interop: %s: %w", name, err)
		}
		if s.Theirs.Secret == "" {
			s.Theirs.Secret = DefaultSecret
		}
		if s.Secret == "" {
			s.Secret = s.Theirs.Secret
		}
		for _, step := range s.Steps {
			if _, err := parseStep(step); err != nil {
				return nil, fmt.Errorf("interop: %s: %w", name, err)
			}
		}
		if s.Title == "" || len(s.Steps) == 0 {
			return nil, fmt.Errorf("interop: %s: a title or the steps are missing", name)
		}
		all = append(all, s)
	}
	return all, nil
}
