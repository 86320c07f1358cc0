package device

import "fmt"

// CacheTyper is a Device that can make KV caches of a chosen type, whatever type it was opened
// with. It is optional.
type CacheTyper interface {
	Device
	// NewKVCacheOf is NewKVCache for a type, named as in Capabilities.CacheType.
	NewKVCacheOf(kind string, slots, maxPositions int, hs AttentionShape) (KVCache, error)
	// CacheTypeBytes returns the bytes of a number in a cache of the type and those of a scale;
	// ok is false where the device has no such caches.
	CacheTypeBytes(kind string) (element, scale int, ok bool)
}

// WithCacheType returns the device for making KV caches of a type. "" is the type that the
// device was opened with.
func WithCacheType(dev Device, kind string) (Device, error) {
	can := dev.Capabilities()
	if kind == "" || kind == can.CacheType {
		return dev, nil
	}
	if t, ok := dev.(CacheTyper); ok {
		if element, scale, ok := t.CacheTypeBytes(kind); ok {
			can.CacheType, can.CacheElementBytes, can.CacheScaleBytes = kind, element, scale
			return typedCaches{t, can}, nil
		}
	}
	return nil, fmt.Errorf("kv-type: %s has no KV cache of type %s", can.Hardware, kind)
}

type typedCaches struct {
	CacheTyper
	can Capabilities
}

// NewKVCache: see Device.
func (d typedCaches) NewKVCache(slots, maxPositions int, hs AttentionShape) (KVCache, error) {
	return d.NewKVCacheOf(d.can.CacheType, slots, maxPositions, hs)
}

// Capabilities: see Device.
func (d typedCaches) Capabilities() Capabilities { return d.can }
