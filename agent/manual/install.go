package manual

import (
	"fmt"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// Associations is where SAs are installed; a *datapath.Datapath or what wraps it.
type Associations interface {
	InstallInbound(datapath.SA) error
	InstallOutbound(datapath.SA) error
}

// Installer installs SAs whose keys an operator gave to a controller. Their keys outlive the agent as those of a file
// do, so what is sent under them has reserved sequence numbers. It implements uplink.ManualInstaller.
type Installer struct {
	keeper *Keeper
	into   Associations
	broken error
}

// NewInstaller makes an installer of SAs whose numbers k keeps.
func NewInstaller(k *Keeper, into Associations) *Installer { return &Installer{keeper: k, into: into} }

// Broken refuses every SA, for why: the reservations cannot be had.
func Broken(why error) *Installer { return &Installer{broken: why} }

// InstallManual installs an SA in its direction. An outbound one that is installed already keeps the numbers that it
// has. Errors are those of Reserve and of the datapath; then no number is used up.
func (i *Installer) InstallManual(sa datapath.SA, inbound bool) error {
	switch {
	case i.broken != nil:
		return i.broken
	case inbound:
		return i.into.InstallInbound(sa)
	case i.keeper.keeps(sa.ID):
		return i.into.InstallOutbound(sa) // what is there stays as it is; what is gone is burnt
	}
	key, err := countedOf(sa)
	if err != nil {
		return err
	}
	if sa.Sequence, sa.Ceiling, err = i.keeper.reserve(sa.Pair.String(), sa.ID, fingerprint(key), sa.ESN); err != nil {
		return err
	}
	if err := i.into.InstallOutbound(sa); err != nil {
		i.keeper.giveBack(sa.ID)
		return err
	}
	return nil
}

// countedOf is the part of an SA's key that its sequence numbers belong to.
func countedOf(sa datapath.SA) ([]byte, error) {
	suite := transform.Suite{}
	var err error
	if suite.Integrity, err = transform.IntegrityByID(sa.Transform.Integrity); err != nil {
		return nil, err
	}
	if sa.Protocol != datapath.AH {
		if suite.Encryption, err = transform.InsecureByID(sa.Transform.ID, sa.Transform.KeyBits); err != nil {
			return nil, err
		}
	}
	if n := suite.KeymatLen(); len(sa.Key) != n {
		return nil, fmt.Errorf("%w: %v needs %d bytes, got %d", transform.ErrKeyLength, suite, n, len(sa.Key))
	}
	return countedKey(suite, sa.Key), nil
}

// keeps reports whether numbers are kept for an SA.
func (k *Keeper) keeps(id datapath.SAID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.held[id] != nil
}
