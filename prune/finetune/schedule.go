package finetune

import (
	"math/rand/v2"

	"mop/runtime/device"
)

// schedule says what each step trains on, and how fast.
type schedule struct {
	options  *Options
	rows     int // examples of the data
	perEpoch int // steps of an epoch
	total    int // steps in all
	order    []int
	epoch    int // that order is of
}

func newSchedule(o *Options, rows int) *schedule {
	s := &schedule{options: o, rows: rows, perEpoch: (rows + o.Batch - 1) / o.Batch, epoch: -1}
	if s.total = o.Steps; s.total == 0 {
		s.total = o.Epochs * s.perEpoch
	}
	return s
}

// batch is the examples of a step, counted from 0: a part of the epoch's own
// order; an epoch's last may be smaller.
func (s *schedule) batch(step int) []int {
	if epoch := step / s.perEpoch; epoch != s.epoch {
		s.epoch = epoch
		if s.options.NoShuffle {
			s.order = make([]int, s.rows)
			for i := range s.order {
				s.order[i] = i
			}
		} else {
			s.order = rand.New(rand.NewPCG(s.options.Seed, 0x7265636f766572+uint64(epoch))).Perm(s.rows)
		}
	}
	at := step % s.perEpoch * s.options.Batch
	return s.order[at:min(at+s.options.Batch, s.rows)]
}

// rate climbs in a straight line through the warm-up, then falls in one to 0
// behind the last step.
func (s *schedule) rate(step int) float64 {
	o := s.options
	if step < o.WarmUp {
		return o.LearningRate * float64(step) / float64(o.WarmUp)
	}
	return o.LearningRate * float64(s.total-step) / float64(max(1, s.total-o.WarmUp))
}

// adam is the optimiser's step, given the gradient's norm.
func (s *schedule) adam(step int, norm float64) device.AdamW {
	o := s.options
	a := device.AdamW{LearningRate: s.rate(step), Beta1: o.Beta1, Beta2: o.Beta2, Eps: o.Eps, WeightDecay: o.WeightDecay, Clip: 1, Step: step + 1}
	if o.MaxGradNorm > 0 {
		a.Clip = min(1, o.MaxGradNorm/(norm+1e-6))
	}
	return a
}
