package transform

// forbidden is what RFC 8221 sections 5 and 6 and RFC 8247 section 2.2 say MUST NOT be
// used, so that asking for it gets that answer. It has no lengths and no code: there is nothing to be made of it.
var forbidden = [...]struct {
	kind Type
	id   uint16
	name string // strongSwan's, where it has one
}{
	{TypeEncryption, 1, "des-iv64"},
	{TypeEncryption, 2, "des"},
	{TypeEncryption, 7, "blowfish"},
	{TypeEncryption, 7, "blowfish128"},
	{TypeEncryption, 7, "blowfish192"},
	{TypeEncryption, 7, "blowfish256"},
	{TypeEncryption, 8, "3idea"},
	{TypeEncryption, 9, "des-iv32"},
	{TypePRF, 1, "prfmd5"},
	{TypeIntegrity, 1, "md5"},
	{TypeIntegrity, 3, "desmac"},
	{TypeIntegrity, 4, "kpdkmd5"},
	{TypeIntegrity, 6, "md5_128"},
}

func isForbiddenName(kind Type, name string) bool {
	for _, f := range forbidden {
		if f.kind == kind && f.name == name {
			return true
		}
	}
	return false
}

func isForbiddenID(kind Type, id uint16) bool {
	for _, f := range forbidden {
		if f.kind == kind && f.id == id {
			return true
		}
	}
	return false
}
