package config

// rope reads the rotary base and its scaling, in the older form (rope_theta and
// rope_scaling) or the newer (both inside rope_parameters).
func (f *fields) rope(c *Config) {
	c.RopeTheta = f.num("rope_theta", 10000)
	if f.has("rope_scaling") && f.has("rope_parameters") {
		f.fail("rope_scaling and rope_parameters: want one of the two, got both")
	}
	for _, key := range []string{"rope_scaling", "rope_parameters"} {
		m := f.object(key)
		if m == nil {
			continue
		}
		g := &fields{raw: m}
		c.RopeTheta = g.num("rope_theta", c.RopeTheta)
		c.RopeScaling = g.scaling()
		g.rest()
		if g.err != nil {
			f.fail("%s: %w", key, g.err)
		}
	}
}

// scaling is nil for the type default, and for none at all.
func (f *fields) scaling() *RopeScaling {
	kind := f.str("rope_type", "")
	if older := f.str("type", kind); kind == "" {
		kind = older
	} else if older != kind {
		f.fail("rope_type and type: want the same, got %s and %s", show(kind), show(older))
	}
	if p := f.num("partial_rotary_factor", 1); p != 1 {
		f.fail("partial_rotary_factor: want 1, got %v", p)
	}
	switch kind {
	case "", "default":
		if p := f.num("factor", 1); p != 1 {
			f.fail("factor: want 1 without a rope type, got %v", p)
		}
		return nil
	case "linear":
		return &RopeScaling{Type: kind, Factor: f.num("factor", 0)}
	case "llama3":
		return &RopeScaling{
			Type: kind, Factor: f.num("factor", 0),
			LowFreqFactor: f.num("low_freq_factor", 0), HighFreqFactor: f.num("high_freq_factor", 0),
			OriginalPositions: f.size("original_max_position_embeddings", 0, 1),
		}
	}
	f.err = nil // what follows from an unknown type is not worth a word
	f.fail("rope type: want default, linear or llama3, got %s", show(kind))
	return nil
}
