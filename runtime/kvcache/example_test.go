package kvcache_test

import (
	"fmt"
	"log"

	"mop/runtime/config"
	"mop/runtime/device/cpu"
	"mop/runtime/kvcache"
)

// Sequences take slots of a cache, and pages as they grow.
func Example() {
	dev, err := cpu.New(1)
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	c := &config.Config{HiddenSize: 64, MaxPositions: 1024, Layers: []config.LayerShape{{Heads: 4, KVHeads: 2, HeadDim: 16, Intermediate: 128}}}
	cache, err := kvcache.New(dev, c, kvcache.Options{Slots: 2, MaxPositions: 1024})
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close()
	slot, err := cache.Alloc()
	if err != nil {
		log.Fatal(err)
	}
	if err := cache.Reserve(slot, 300); err != nil {
		log.Fatal(err)
	}
	used, free := cache.Pages()
	fmt.Println(used, "pages of", cache.PageSize(), "positions used,", free, "free")
	cache.Free(slot)
	used, free = cache.Pages()
	fmt.Println(used, "used,", free, "free")
	// Output:
	// 2 pages of 256 positions used, 6 free
	// 0 used, 8 free
}
