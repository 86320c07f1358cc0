package latency

// Widest is the width of the widest speed-up interval over its median, from the
// samples of so many rounds: 0.1 is about ±5 %. It serves to decide whether to
// continue measuring; stopping because of the speed-up itself would make it look better
// than it is. The width is 0 if there is no interval.
func Widest(p Protocol, models []Model, samples []Sample, rounds int) (float64, error) {
	p.Runs = rounds
	rows, err := Rows(p, models, samples, Environment{})
	if err != nil {
		return 0, err
	}
	widest := 0.0
	for _, r := range rows {
		if r.Speedup.Lo != nil {
			widest = max(widest, (*r.Speedup.Hi-*r.Speedup.Lo)/r.Speedup.Median)
		}
	}
	return widest, nil
}
