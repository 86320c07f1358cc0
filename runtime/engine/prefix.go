package engine

import (
	"crypto/sha256"
	"encoding/binary"

	"mop/runtime/kvcache"
)

// prefixes are beginnings of prompts whose pages are kept, for later requests of the same
// PrefixKey that begin with the same tokens. Each has a slot of the cache, which shares its
// pages with the requests. Prompts are compared in units of whole chunks and whole pages: a
// prompt is always cut at the same positions, so that the bits are those of a request that
// computes all of its prompt. A nil pointer keeps nothing.
type prefixes struct {
	cache *kvcache.Cache
	most  int // that are kept
	unit  int // positions
	kept  []*prefix
	byKey map[prefixKey]match
	clock int
}

// prefixKey is the hash of a PrefixKey and of the tokens of the first units of a prompt.
type prefixKey [sha256.Size]byte

// prefix is one that is kept.
type prefix struct {
	slot int
	keys []prefixKey // that lead to it
	used int         // the clock when it was used last
}

// match is the first units of a prefix.
type match struct {
	*prefix
	units int
}

func newPrefixes(cache *kvcache.Cache, most, chunk int) *prefixes {
	unit := chunk
	for unit%cache.PageSize() != 0 {
		unit += chunk
	}
	return &prefixes{cache: cache, most: most, unit: unit, byKey: map[prefixKey]match{}}
}

// keysOf gives the keys of a request's prompt, by number of units. Embeddings of images and
// probabilities of the prompt must be computed each time.
func (p *prefixes) keysOf(r *Request) (keys []prefixKey) {
	if r.PrefixKey == "" || len(r.Images) > 0 || r.PromptLogprobs {
		return nil
	}
	last := sha256.Sum256([]byte(r.PrefixKey))
	for end := p.unit; end <= len(r.Prompt); end += p.unit {
		data := append([]byte{}, last[:]...)
		for _, token := range r.Prompt[end-p.unit : end] {
			data = binary.LittleEndian.AppendUint64(data, uint64(token))
		}
		last = sha256.Sum256(data)
		keys = append(keys, last)
	}
	return keys
}

// find gives the longest beginning of a request's prompt that is kept and leaves at least one
// token to compute.
func (p *prefixes) find(r *request) match {
	if p == nil {
		return match{}
	}
	for n := min(len(r.keys), (len(r.Prompt)-1)/p.unit); n > 0; n-- {
		if m, ok := p.byKey[r.keys[n-1]]; ok {
			return m
		}
	}
	return match{}
}

// pagesOf is the number of pages that a request would share.
func (p *prefixes) pagesOf(r *request) int {
	m := p.find(r)
	if m.prefix == nil {
		return 0
	}
	p.touch(m.prefix)
	return m.units * p.unit / p.cache.PageSize()
}

func (p *prefixes) touch(x *prefix) {
	p.clock++
	x.used = p.clock
}

// usePrefix lets a request that has just got its slot begin behind what is kept of its prompt.
func (e *Engine) usePrefix(r *request) error {
	if e.prefixes == nil || len(r.keys) == 0 {
		return nil
	}
	hits := 0
	if m := e.prefixes.find(r); m.prefix != nil {
		hits = m.units * e.prefixes.unit
		if err := e.cache.Share(r.slot, m.slot, hits); err != nil {
			return err
		}
		r.computed = hits
	}
	e.mu.Lock()
	e.stats.PrefixQueries += int64(len(r.Prompt))
	e.stats.PrefixHits += int64(hits)
	e.mu.Unlock()
	return nil
}

// keep keeps the beginning of a request's prompt, which has been computed.
func (p *prefixes) keep(r *request) {
	if p == nil || len(r.keys) == 0 {
		return
	}
	if m, ok := p.byKey[r.keys[len(r.keys)-1]]; ok {
		p.touch(m.prefix)
		return
	}
	if len(p.kept) == p.most {
		p.evict()
	}
	slot, err := p.cache.Alloc()
	if err != nil {
		return
	}
	if p.cache.Share(slot, r.slot, len(r.keys)*p.unit) != nil {
		p.cache.Free(slot)
		return
	}
	x := &prefix{slot: slot}
	for i, key := range r.keys {
		if _, ok := p.byKey[key]; !ok {
			p.byKey[key] = match{x, i + 1}
			x.keys = append(x.keys, key)
		}
	}
	p.touch(x)
	p.kept = append(p.kept, x)
}

// evict forgets the prefix that was not used for longest, and reports whether there was one.
func (p *prefixes) evict() bool {
	if p == nil || len(p.kept) == 0 {
		return false
	}
	oldest := 0
	for i, x := range p.kept {
		if x.used < p.kept[oldest].used {
			oldest = i
		}
	}
	x := p.kept[oldest]
	for _, key := range x.keys {
		delete(p.byKey, key)
	}
	p.cache.Free(x.slot)
	p.kept = append(p.kept[:oldest], p.kept[oldest+1:]...)
	return true
}
