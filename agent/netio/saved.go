package netio

// Saved is what the last agent with this state directory had applied; false if there was none. An agent
// that starts begins with it, so that what was guarded stays guarded until it knows better.
func Saved(stateDir string) (Desired, bool, error) {
	s, err := loadState(stateDir)
	if s == nil || err != nil {
		return Desired{}, false, err
	}
	return s.Desired, true, nil
}
