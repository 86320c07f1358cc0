package study

// front is one question for the Pareto front: which entries are better in one quantity than
// all that are at most as large or as slow.
type front struct {
	name  string
	cost  func(Entry) *float64 // less is better
	value func(Entry) *float64 // less is better
}

// fronts are those of the report.
func fronts() []front {
	params := func(e Entry) *float64 { return &e.Params.Mean }
	time := func(e Entry) *float64 {
		if e.Latency == nil {
			return nil
		}
		return &e.Latency.Share
	}
	var out []front
	for _, after := range []bool{false, true} {
		of := func(e Entry) *Summary {
			if after {
				return e.After
			}
			return e.Before
		}
		ppl := func(e Entry) *float64 {
			if q := of(e); q != nil && q.PPL != nil {
				return &q.PPL.Mean
			}
			return nil
		}
		kl := func(e Entry) *float64 {
			if q := of(e); q != nil && q.KL != nil {
				return &q.KL.Mean
			}
			return nil
		}
		acc := func(e Entry) *float64 {
			if q := of(e); q != nil && q.Average != nil {
				x := -q.Average.Mean
				return &x
			}
			return nil
		}
		suffix := ""
		if after {
			suffix = " recovered"
		}
		out = append(out, front{"ppl/params" + suffix, params, ppl}, front{"ppl/latency" + suffix, time, ppl},
			front{"kl/params" + suffix, params, kl}, front{"kl/latency" + suffix, time, kl},
			front{"accuracy/params" + suffix, params, acc}, front{"accuracy/latency" + suffix, time, acc})
	}
	return out
}

// markFronts notes which entries no other one beats.
func (r *Result) markFronts() {
	for _, f := range fronts() {
		for i, e := range r.Rows {
			cost, value := f.cost(e), f.value(e)
			if i == 0 || cost == nil || value == nil {
				continue
			}
			beaten := false
			for j, other := range r.Rows {
				c, v := f.cost(other), f.value(other)
				if j == i || j == 0 || c == nil || v == nil {
					continue
				}
				beaten = beaten || *c <= *cost && *v <= *value && (*c < *cost || *v < *value)
			}
			if !beaten {
				r.Rows[i].Fronts = append(r.Rows[i].Fronts, f.name)
			}
		}
	}
}
