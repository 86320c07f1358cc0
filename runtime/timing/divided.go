package timing

import (
	"time"

	"mop/runtime/device"
)

// Divided is a device on which the prefill passes of one model can be divided into turns. A
// turn ends behind an output or a down projection, where the model's state is the residual
// stream alone: a pass of several turns computes the same as an undivided one, and reads the
// same memory. What other models do between two turns costs a pass no more than reading its
// activations again, which are few beside what a turn reads.
//
// A device that queues operations cannot be divided like that.
type Divided struct {
	device.Device
	passOps int    // operations of a run's prefill that a turn can end behind
	done    int    // of the present run
	every   int    // so many of them are a turn; 0 = the whole pass is one
	pause   func() // nil = nobody waits for a turn
}

// NewDivided wraps a device. The model must be loaded through it.
func NewDivided(dev device.Device) *Divided { return &Divided{Device: dev} }

// turnTime is about the least time of a turn: long beside what it costs to change turns, and
// short beside the tenths of seconds for which others change a machine's speed.
const turnTime = 25 * time.Millisecond

// Divide decides into how many turns the next runs are divided. prefill is how long the one
// before took, which was not divided.
func (d *Divided) Divide(prefill time.Duration) {
	d.every = 0
	if turns := int(prefill / turnTime); turns > 1 {
		d.every = max(1, d.passOps/turns)
	}
}

// Turns is about the number of turns of the next run's prefill.
func (d *Divided) Turns() int {
	if d.every == 0 {
		return 1
	}
	return max(1, d.passOps/d.every)
}

// AddLinear: see device.Device.
func (d *Divided) AddLinear(phase device.Phase, x, a device.Buffer, n int, w device.Weight) {
	d.Device.AddLinear(phase, x, a, n, w)
	if phase != device.Prefill {
		return
	}
	d.done++
	if d.every > 0 && d.done%d.every == 0 && d.pause != nil {
		d.pause()
	}
}

// begin begins a run. pause is called at the end of every turn but a run's last.
func (d *Divided) begin(pause func()) { d.done, d.pause = 0, pause }

// end ends it.
func (d *Divided) end() { d.passOps, d.pause = d.done, nil }
