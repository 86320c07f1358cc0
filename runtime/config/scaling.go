package config

import "reflect"

// rope reads the rotary base and its scaling, in the form of transformers 4
// (rope_theta and rope_scaling) or of transformers 5 (both inside rope_parameters).
// Where both are there they must agree.
func (f *fields) rope(c *Config) {
	c.RopeTheta = f.num("rope_theta", 10000)
	both := f.has("rope_scaling") && f.has("rope_parameters")
	var older *RopeScaling
	var olderTheta float64
	for _, key := range []string{"rope_scaling", "rope_parameters"} {
		m := f.object(key)
		if m == nil {
			continue
		}
		g := &fields{raw: m}
		older, olderTheta = c.RopeScaling, c.RopeTheta
		c.RopeTheta = g.num("rope_theta", c.RopeTheta)
		c.RopeScaling = g.scaling()
		g.ignoreScalars()
		g.rest()
		if g.err != nil {
			f.fail("%s: %w", key, g.err)
		}
	}
	if both && f.err == nil && (olderTheta != c.RopeTheta || !reflect.DeepEqual(older, c.RopeScaling)) {
		f.fail("rope_scaling and rope_parameters: want both to say the same")
	}
}

// ignoreScalars drops the keys that nobody took, as transformers does with keys that a
// rope type does not use. An object or a list may hold parameters of single layers or
// frequencies, and stays an error.
func (f *fields) ignoreScalars() {
	for key, v := range f.raw {
		switch v.(type) {
		case map[string]any, []any:
		default:
			delete(f.raw, key)
		}
	}
}

// scaling is nil for the type default, and where no type is given.
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
	case "linear", "dynamic":
		return &RopeScaling{Type: kind, Factor: f.num("factor", 0)}
	case "llama3":
		return &RopeScaling{
			Type: kind, Factor: f.num("factor", 0),
			LowFreqFactor: f.num("low_freq_factor", 0), HighFreqFactor: f.num("high_freq_factor", 0),
			OriginalPositions: f.size("original_max_position_embeddings", 0, 1),
		}
	}
	f.err = nil // other errors follow from the unknown type
	f.fail("rope type: want default, linear, dynamic or llama3, got %s", show(kind))
	return nil
}
