package sad

// View is an immutable picture of a Database for the workers that carry packets: any
// number of them read it without a lock. Publish a new one after each batch of
// changes, for instance in an atomic pointer. The zero View is empty.
type View[T any] struct {
	inbound  map[uint32]T
	outbound map[[16]byte]T
}

// View returns a picture of the database as it is now.
func (d *Database[T]) View() *View[T] {
	v := &View[T]{
		inbound:  make(map[uint32]T, len(d.spis)),
		outbound: make(map[[16]byte]T),
	}
	newest := make(map[[16]byte]uint32)
	for _, h := range d.held {
		switch {
		case h.sa.Direction == Inbound:
			v.inbound[h.sa.SPI] = h.value
		case h.sa.Generation > newest[h.sa.Pair]:
			newest[h.sa.Pair] = h.sa.Generation
			v.outbound[h.sa.Pair] = h.value
		}
	}
	return v
}

// Inbound returns the state of the inbound SA that has the SPI.
func (v *View[T]) Inbound(spi uint32) (T, bool) {
	value, ok := v.inbound[spi]
	return value, ok
}

// Outbound returns the state of the pair's outbound SA of the highest generation that
// is installed: the one that new packets take.
func (v *View[T]) Outbound(pair [16]byte) (T, bool) {
	value, ok := v.outbound[pair]
	return value, ok
}
