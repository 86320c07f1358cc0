//go:build cuda || cudaemu

package cuda

import (
	"fmt"

	"mop/runtime/device"
)

// operation is an operation of device.Device and its operands, for errors.
type operation struct {
	name     string
	operands []operand
}

type operand struct {
	name       string
	rows, cols int
	freed      bool
}

// String returns for example "linear, y [3 5], x [3 4], w [5 4]".
func (o operation) String() string {
	s := o.name
	if s == "" {
		s = "no operation"
	}
	for _, x := range o.operands {
		s += fmt.Sprintf(", %s [%d %d]", x.name, x.rows, x.cols)
	}
	return s
}

// operand describes the buffer as an operand.
func (b *buffer) operand(name string) operand { return operand{name, b.rows, b.cols, b.freed} }

// begin sets the current operation and refuses operands that were freed.
func (d *Device) begin(name string, operands ...operand) {
	d.currentOperation = operation{name, operands}
	for _, x := range operands {
		if x.freed {
			d.fail(fmt.Errorf("%s: %s: %w", name, x.name, device.ErrFreed))
		}
	}
}

// addOperand adds an operand to the current operation. It begins a new operation if the name
// differs or the operand is the first one again.
func (d *Device) addOperand(op string, x operand) {
	if o := d.currentOperation; o.name != op || len(o.operands) > 0 && o.operands[0].name == x.name {
		d.currentOperation = operation{name: op}
	}
	d.currentOperation.operands = append(d.currentOperation.operands, x)
}
