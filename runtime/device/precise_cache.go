package device

// PreciseCacher is a Device that can make KV caches of its most precise type although it was
// opened with a smaller one. It is optional.
type PreciseCacher interface {
	Device
	// NewPreciseKVCache is NewKVCache without the loss of a smaller type.
	NewPreciseKVCache(slots, maxPositions int, hs AttentionShape) (KVCache, error)
}

// WithPreciseCaches returns the device for making KV caches of its most precise type: those of
// a reference, with which a model that has a smaller type is compared.
func WithPreciseCaches(dev Device) Device {
	if p, ok := dev.(PreciseCacher); ok {
		return preciseCaches{p}
	}
	return dev
}

type preciseCaches struct{ PreciseCacher }

// NewKVCache: see Device.
func (d preciseCaches) NewKVCache(slots, maxPositions int, hs AttentionShape) (KVCache, error) {
	return d.NewPreciseKVCache(slots, maxPositions, hs)
}
