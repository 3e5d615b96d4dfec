package ikewire

// VendorID is the Vendor ID payload.
type VendorID struct {
	Data []byte // RFC 7296 section 3.12
}

// PayloadType returns PayloadVendorID.
func (VendorID) PayloadType() PayloadType { return PayloadVendorID }

func (VendorID) check() error { return nil }

func (p VendorID) appendBody(b []byte) []byte { return append(b, p.Data...) }
