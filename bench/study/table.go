package study

import (
	"bytes"
	"encoding/csv"
	"strconv"
)

// CSV has a line for each entry. A value that does not exist is empty.
func (r *Result) CSV() []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	header := []string{"row", "target", "seeds", "params", "compression"}
	for _, state := range []string{"before_", "after_"} {
		header = append(header, state+"ppl", state+"ppl_sd", state+"average_acc_norm", state+"average_sd", state+"average_stderr", state+"average_acc")
		for _, t := range r.Tasks {
			header = append(header, state+t+"_acc", state+t+"_acc_norm", state+t+"_stderr")
		}
	}
	header = append(header, "e2e_ms", "ttft_ms", "latency_share", "speedup", "speedup_lo", "speedup_hi", "gain_per_compression", "latency_target", "latency_share_sd", "before_kl", "before_kl_sd", "after_kl", "after_kl_sd")
	_ = w.Write(header) // a buffer takes everything
	for _, e := range r.Rows {
		line := []string{e.Row, number(&e.Target), strconv.Itoa(len(e.Models)), number(&e.Params.Mean), number(&e.Compression.Mean)}
		for _, q := range []*Summary{e.Before, e.After} {
			line = append(line, r.qualityColumns(q)...)
		}
		line = append(line, latencyColumns(e.Latency)...)
		line = append(line, latencyGoal(e)...)
		for _, q := range []*Summary{e.Before, e.After} {
			if q == nil || q.KL == nil {
				line = append(line, "", "")
				continue
			}
			line = append(line, number(&q.KL.Mean), number(q.KL.SD))
		}
		_ = w.Write(line)
	}
	w.Flush()
	return b.Bytes()
}

// qualityColumns are those of a state, empty where it was not evaluated.
func (r *Result) qualityColumns(q *Summary) []string {
	var out []string
	if q == nil {
		return make([]string, 6+3*len(r.Tasks))
	}
	for _, s := range []*Stat{q.PPL, q.Average} {
		if s == nil {
			out = append(out, "", "")
			continue
		}
		out = append(out, number(&s.Mean), number(s.SD))
	}
	if q.Average == nil {
		return append(out, make([]string, 2+3*len(r.Tasks))...)
	}
	out = append(out, number(&q.Error), number(&q.MeanAcc))
	for _, t := range r.Tasks {
		acc, norm, stderr := q.Acc[t].Mean, q.Tasks[t].Mean, q.Stderr[t]
		out = append(out, number(&acc), number(&norm), number(&stderr))
	}
	return out
}

func latencyColumns(l *LatencyResult) []string {
	if l == nil {
		return make([]string, 7)
	}
	return []string{number(&l.E2E), number(&l.TTFT), number(&l.Share), number(&l.Speedup.Median), number(l.Speedup.Lo), number(l.Speedup.Hi), number(l.Gain)}
}

// latencyGoal are the columns of a share of the latency that was asked for.
func latencyGoal(e Entry) []string {
	out := []string{"", ""}
	if e.LatencyTarget > 0 {
		out[0] = number(&e.LatencyTarget)
	}
	if e.Latency != nil {
		out[1] = number(e.Latency.ShareSD)
	}
	return out
}

func number(x *float64) string {
	if x == nil {
		return ""
	}
	return strconv.FormatFloat(*x, 'g', -1, 64)
}
