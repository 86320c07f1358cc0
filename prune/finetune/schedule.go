package finetune

import (
	"math/rand/v2"

	"mop/runtime/device"
)

// schedule gives the examples and the learning rate of each step.
type schedule struct {
	options  *Options
	rows     int   // examples of the data
	perEpoch int   // steps per epoch
	total    int   // number of steps
	order    []int // of the examples in the current epoch
	epoch    int   // whose order it is
}

func newSchedule(o *Options, rows int) *schedule {
	s := &schedule{options: o, rows: rows, perEpoch: (rows + o.Batch - 1) / o.Batch, epoch: -1}
	if s.total = o.Steps; s.total == 0 {
		s.total = o.Epochs * s.perEpoch
	}
	return s
}

// batch returns the examples of a step, counted from 0. Every epoch has its own order, and
// its last batch may be smaller.
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

// rate is the learning rate of a step. It rises linearly during the warm-up, and then falls
// linearly to 0 after the last step.
func (s *schedule) rate(step int) float64 {
	o := s.options
	if step < o.WarmUp {
		return o.LearningRate * float64(step) / float64(o.WarmUp)
	}
	return o.LearningRate * float64(s.total-step) / float64(max(1, s.total-o.WarmUp))
}

// adam returns the parameters of the optimiser's step, given the norm of the gradient.
func (s *schedule) adam(step int, norm float64) device.AdamW {
	o := s.options
	a := device.AdamW{LearningRate: s.rate(step), Beta1: o.Beta1, Beta2: o.Beta2, Eps: o.Eps, WeightDecay: o.WeightDecay, Clip: 1, Step: step + 1}
	if o.MaxGradNorm > 0 {
		a.Clip = min(1, o.MaxGradNorm/(norm+1e-6))
	}
	return a
}
