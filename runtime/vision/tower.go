package vision

import (
	"encoding/binary"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/random"
)

// Tower is a CLIP vision tower and a projector on a device. A layer updates the hidden
// states x [1+patches, D] in two blocks:
//
//	x += Wo attention(Wq h, Wk h, Wv h)    h = layer norm(x)
//	x += W2 f(W1 h)                        h = layer norm(x)
//
// where every matrix has a bias. The first row is the class token.
type Tower struct {
	Config *Config

	dev       device.Vision
	patches   device.Weight // [D, 3*P*P]
	preNorm   norm
	layers    []layer
	projector []affine // with an activation between them
	weights   []device.Weight

	positions device.Buffer   // [1+patches, D]; the class token's row includes its embedding
	input     device.Buffer   // [1+patches, 3*P*P], of the class token zero
	embedded  device.Buffer   // [1+patches, D], in front of the first norm
	x         device.Buffer   // [1+patches, D], the hidden states
	h, a      device.Buffer   // Activations [1+patches, D]: normed, of the attention
	qkv       device.Buffer   // Activations [1+patches, 3*D]
	mid       device.Buffer   // Activations [1+patches, I]
	features  device.Buffer   // [tokens, D*layers]
	projected []device.Buffer // Activations, the last one float32
	buffers   []device.Buffer
	rows      []int // 0, 1, ..
}

type norm struct{ gain, bias device.Weight }

// affine is a matrix with a bias.
type affine struct{ w, b device.Weight }

type layer struct {
	norm1, norm2 norm
	qkv, o       affine // qkv: the matrices of q, k and v, one below the other
	up, down     affine
}

// towerName is a tensor's name without the prefixes that the layouts put in front, and
// whether it belongs to the projector. The projector's matrices are numbered.
func towerName(stored string) (name string, projector bool) {
	name = strings.TrimPrefix(stored, "model.")
	if m := projectorName.FindStringSubmatch(name); m != nil {
		return m[1] + "." + m[2], true
	}
	for _, p := range []string{"vision_tower.", "vision_tower.", "vision_model."} {
		name = strings.TrimPrefix(name, p)
	}
	return name, false
}

var projectorName = regexp.MustCompile(`^(?:multi_modal_projector\.linear_|mm_projector\.?)([0-9]*)\.?(weight|bias)$`)

// Open places the vision tower and the projector of a checkpoint on a device. They must be
// in the checkpoint, which must stay open.
func Open(dev device.Vision, src checkpoint.Source) (*Tower, error) {
	wrapper := checkpoint.MultimodalWrapperOf(src)
	if wrapper == nil {
		return nil, ErrNone
	}
	l := &loader{dev: dev, tower: map[string]checkpoint.Tensor{}, projector: map[string]checkpoint.Tensor{}}
	shapes := map[string][]int{}
	for _, t := range wrapper.Tensors() {
		if name, projector := towerName(t.Name); projector {
			l.projector[name] = t
		} else {
			l.tower[name], shapes[name] = t, t.Shape
		}
	}
	c, err := ParseConfig(src.Config(), shapes)
	if err != nil {
		return nil, err
	}
	return build(l, c, src.Config().HiddenSize)
}

// OpenRandom makes the vision tower and the projector of a config with random weights, to
// measure their speed. The config needs vision_config.
func OpenRandom(dev device.Vision, text *config.Config, seed uint64) (*Tower, error) {
	c, err := ParseConfig(text, nil)
	if err != nil {
		return nil, err
	}
	F, D := c.FeatureSize(), text.HiddenSize
	l := &loader{dev: dev, random: true, seed: seed, projector: map[string]checkpoint.Tensor{}}
	for name, shape := range map[string][]int{"1.weight": {D, F}, "1.bias": {D}, "2.weight": {D, D}, "2.bias": {D}} {
		l.projector[name] = l.generate("projector."+name, shape)
	}
	return build(l, c, D)
}

func build(l *loader, c *Config, textSize int) (*Tower, error) {
	t := &Tower{Config: c, dev: l.dev}
	table := t.load(l, textSize)
	t.weights = l.placed
	if l.err == nil {
		l.err = t.allocate()
	}
	if l.err == nil {
		t.dev.Write(t.positions, 0, table)
	}
	if l.err != nil {
		t.Close()
		return nil, l.err
	}
	return t, nil
}

// loader places tensors and keeps the first error.
type loader struct {
	dev              device.Vision
	tower, projector map[string]checkpoint.Tensor
	placed           []device.Weight
	random           bool // generate the tower's tensors
	seed             uint64
	err              error
}

// generate makes a random tensor in half precision: gains are 1 and biases 0.
func (l *loader) generate(name string, shape []int) checkpoint.Tensor {
	scale := random.Scale(0.02)
	if strings.HasSuffix(name, "bias") || strings.HasSuffix(name, "norm.weight") || strings.Contains(name, "layer_norm") {
		scale = 0
	}
	t := checkpoint.RandomSpec{Name: name, DType: checkpoint.F16, Shape: shape, Key: random.Key(l.seed, name), Scale: scale}.Tensor()
	if scale == 0 && strings.HasSuffix(name, "weight") {
		for i := 0; i < len(t.Data); i += 2 {
			checkpoint.Encode(t.Data[i:], t.DType, 1)
		}
	}
	return t
}

// tensor finds a tensor of the tower and checks its shape.
func (l *loader) tensor(name string, shape ...int) checkpoint.Tensor {
	if l.random {
		return l.generate(name, shape)
	}
	t, ok := l.tower[name]
	switch {
	case l.err != nil:
	case !ok:
		l.err = fmt.Errorf("vision tower: %s: missing, want %v", name, shape)
	case !slices.Equal(t.Shape, shape):
		l.err = fmt.Errorf("vision tower: %s: want %v, got %v", name, shape, t.Shape)
	}
	return t
}

func (l *loader) place(t checkpoint.Tensor) device.Weight {
	if l.err != nil {
		return nil
	}
	w, err := l.dev.Place(t, device.PlaceOptions{})
	if err != nil {
		l.err = fmt.Errorf("vision tower: %w", err)
		return nil
	}
	l.placed = append(l.placed, w)
	return w
}

func (l *loader) norm(name string, size int) norm {
	return norm{l.place(l.tensor(name+".weight", size)), l.place(l.tensor(name+".bias", size))}
}

func (l *loader) affine(name string, out, in int) affine {
	return affine{l.place(l.tensor(name+".weight", out, in)), l.place(l.tensor(name+".bias", out))}
}

// stacked places the matrices of some projections as one, and their biases.
func (l *loader) stacked(prefix string, names []string, out, in int) affine {
	var w, b []checkpoint.Tensor
	for _, name := range names {
		w = append(w, l.tensor(prefix+name+".weight", out, in))
		b = append(b, l.tensor(prefix+name+".bias", out))
	}
	if l.err != nil {
		return affine{}
	}
	return affine{l.place(stack(w)), l.place(stack(b))}
}

// stack is tensors of one shape one below the other, in float32 where their types differ.
func stack(parts []checkpoint.Tensor) checkpoint.Tensor {
	all := parts[0]
	all.Shape = slices.Clone(all.Shape)
	all.Shape[0] *= len(parts)
	all.Data = nil
	same := !slices.ContainsFunc(parts, func(t checkpoint.Tensor) bool { return t.DType != all.DType })
	for _, t := range parts {
		if same {
			all.Data = append(all.Data, t.Data...)
		} else {
			all.Data = append(all.Data, float32Bytes(checkpoint.Float32s(t))...)
		}
	}
	if !same {
		all.DType = checkpoint.F32
	}
	return all
}

func float32Bytes(v []float32) (data []byte) {
	for _, x := range v {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(x))
	}
	return data
}

// load places the weights and returns the table of positions.
func (t *Tower) load(l *loader, textSize int) (positions []float32) {
	c := t.Config
	D, P := c.HiddenSize, c.PatchSize
	patch := l.tensor("embeddings.patch_embedding.weight", D, 3, P, P)
	patch.Shape = []int{D, 3 * P * P}
	t.patches = l.place(patch)
	class, position := l.tensor("embeddings.class_embedding", D), l.tensor("embeddings.position_embedding.weight", c.Patches()+1, D)
	if l.err == nil {
		positions = withClass(position, class)
	}
	t.preNorm = l.norm("pre_layrnorm", D)                 // as CLIP spells it
	t.layers = make([]layer, slices.Max(c.FeatureLayers)) // the layers behind it have no effect
	for i := range t.layers {
		name := "encoder.layers." + strconv.Itoa(i) + "."
		t.layers[i] = layer{
			norm1: l.norm(name+"layer_norm1", D), norm2: l.norm(name+"layer_norm2", D),
			qkv: l.stacked(name+"self_attn.", []string{"q_proj", "k_proj", "v_proj"}, D, D), o: l.affine(name+"self_attn.out_proj", D, D),
			up: l.affine(name+"mlp.fc1", c.Intermediate, D), down: l.affine(name+"mlp.fc2", D, c.Intermediate),
		}
	}
	t.loadProjector(l, textSize)
	return positions
}

// loadProjector places the projector's matrices in the order of their numbers: there are
// linear_1 and linear_2, or 0, 2, ..., or a single one.
func (t *Tower) loadProjector(l *loader, textSize int) {
	var numbers []int
	for name := range l.projector {
		if number, ok := strings.CutSuffix(name, ".weight"); ok {
			n, _ := strconv.Atoi(number)
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	in := t.Config.FeatureSize()
	for i, n := range numbers {
		number := strconv.Itoa(n)
		w, ok := l.projector[number+".weight"]
		if !ok {
			number = ""
			w = l.projector[".weight"]
		}
		if l.err == nil && (len(w.Shape) != 2 || w.Shape[1] != in || i == len(numbers)-1 && w.Shape[0] != textSize) {
			l.err = fmt.Errorf("projector: %s: want %d columns and, of the last matrix, %d rows, got %v", w.Name, in, textSize, w.Shape)
		}
		if l.err != nil {
			return
		}
		b, ok := l.projector[number+".bias"]
		if !ok {
			b = checkpoint.Tensor{Name: "no bias", DType: checkpoint.F32, Shape: []int{w.Shape[0]}, Data: make([]byte, 4*w.Shape[0])}
		}
		if len(b.Shape) != 1 || b.Shape[0] != w.Shape[0] {
			l.err = fmt.Errorf("projector: %s: want [%d], got %v", b.Name, w.Shape[0], b.Shape)
			return
		}
		t.projector = append(t.projector, affine{l.place(w), l.place(b)})
		in = w.Shape[0]
	}
	if len(numbers) == 0 && l.err == nil {
		l.err = fmt.Errorf("the checkpoint has no projector: want tensors multi_modal_projector.linear_1.weight or mm_projector.0.weight")
	}
}

// withClass is the table of positions, with the class token's embedding added to its row.
func withClass(position, class checkpoint.Tensor) []float32 {
	table := checkpoint.Float32s(position)
	for i, v := range checkpoint.Float32s(class) {
		table[i] += v
	}
	return table
}

func (t *Tower) allocate() error {
	c, n := t.Config, t.Config.Patches()+1
	D := c.HiddenSize
	var err error
	keep := func(allocate func() (device.Buffer, error)) device.Buffer {
		if err != nil {
			return nil
		}
		var b device.Buffer
		if b, err = allocate(); err == nil {
			t.buffers = append(t.buffers, b)
		}
		return b
	}
	buffer := func(rows, cols int) device.Buffer {
		return keep(func() (device.Buffer, error) { return t.dev.Buffer(rows, cols) })
	}
	activations := func(rows, cols int) device.Buffer {
		return keep(func() (device.Buffer, error) {
			b, err := t.dev.Activations(rows, []int{cols})
			if err != nil {
				return nil, err
			}
			return b[0], nil
		})
	}
	t.positions, t.embedded, t.x = buffer(n, D), buffer(n, D), buffer(n, D)
	t.h, t.a, t.qkv, t.mid = activations(n, D), activations(n, D), activations(n, 3*D), activations(n, c.Intermediate)
	t.input = buffer(n, 3*c.PatchSize*c.PatchSize)
	t.features = buffer(c.Tokens(), c.FeatureSize())
	for i, p := range t.projector {
		width := p.w.Shape()[0]
		if i < len(t.projector)-1 {
			t.projected = append(t.projected, activations(c.Tokens(), width))
		} else {
			t.projected = append(t.projected, buffer(c.Tokens(), width))
		}
	}
	if err != nil {
		return fmt.Errorf("vision tower: %w", err)
	}
	for i := range n {
		t.rows = append(t.rows, i)
	}
	return nil
}

// Params counts the parameters that Encode uses.
func (t *Tower) Params() (n int64) {
	n = int64(t.Config.Patches()+1) * int64(t.Config.HiddenSize) // the positions
	for _, w := range t.weights {
		size := int64(1)
		for _, s := range w.Shape() {
			size *= int64(s)
		}
		n += size
	}
	return n
}

// Features computes the features of a picture, patch after patch.
// pixels [3, ImageSize, ImageSize], result [Tokens, FeatureSize]
func (t *Tower) Features(pixels []float32) ([]float32, error) {
	c, d := t.Config, t.dev
	if want := 3 * c.ImageSize * c.ImageSize; len(pixels) != want {
		return nil, fmt.Errorf("vision tower: want %d pixel values, got %d", want, len(pixels))
	}
	n, D := c.Patches()+1, c.HiddenSize
	d.Write(t.input, 0, c.unfold(pixels))
	d.Gather(t.embedded, t.positions, t.rows)
	d.AddLinear(device.Prefill, t.embedded, t.input, n, t.patches)
	d.LayerNorm(t.x, t.embedded, n, t.preNorm.gain, t.preNorm.bias, c.NormEps)

	out := make([]float32, c.Tokens()*c.FeatureSize())
	state := make([]float32, c.Tokens()*D)
	keep := func(layer int) error {
		if !slices.Contains(c.FeatureLayers, layer) {
			return nil
		}
		d.Read(state, t.x, n-c.Tokens(), c.Tokens())
		if err := d.Sync(); err != nil {
			return err
		}
		for i, l := range c.FeatureLayers {
			for row := range c.Tokens() {
				if l == layer {
					copy(out[row*c.FeatureSize()+i*D:], state[row*D:(row+1)*D])
				}
			}
		}
		return nil
	}
	if err := keep(0); err != nil {
		return nil, err
	}
	for i := range t.layers {
		t.runLayer(&t.layers[i], n)
		if err := keep(i + 1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// runLayer queues the two blocks of a layer.
func (t *Tower) runLayer(y *layer, n int) {
	c, d := t.Config, t.dev
	d.LayerNorm(t.h, t.x, n, y.norm1.gain, y.norm1.bias, c.NormEps)
	d.LinearBias(t.qkv, t.h, n, y.qkv.w, y.qkv.b, device.Identity)
	d.BidirectionalAttention(t.a, t.qkv, n, c.Heads, c.HiddenSize/c.Heads)
	d.AddLinearBias(t.x, t.a, n, y.o.w, y.o.b)

	d.LayerNorm(t.h, t.x, n, y.norm2.gain, y.norm2.bias, c.NormEps)
	d.LinearBias(t.mid, t.h, n, y.up.w, y.up.b, c.Activation)
	d.AddLinearBias(t.x, t.mid, n, y.down.w, y.down.b)
}

// unfold arranges the pixels by patches; the class token's row is zero.
// pixels [3, S, S], result [1+patches, 3, P, P]
func (c *Config) unfold(pixels []float32) []float32 {
	S, P := c.ImageSize, c.PatchSize
	side, size := S/P, 3*P*P
	out := make([]float32, (1+side*side)*size)
	for i := range side * side {
		x, y := i%side*P, i/side*P
		for j := range 3 * P { // row j%P of channel j/P
			from := (j/P*S+y+j%P)*S + x
			copy(out[(1+i)*size+j*P:], pixels[from:from+P])
		}
	}
	return out
}

// Project turns features into embeddings of the language model.
// features [Tokens, FeatureSize], result [Tokens, language model's hidden size]
func (t *Tower) Project(features []float32) ([]float32, error) {
	n := t.Config.Tokens()
	if want := n * t.Config.FeatureSize(); len(features) != want {
		return nil, fmt.Errorf("projector: want %d features, got %d", want, len(features))
	}
	t.dev.Write(t.features, 0, features)
	x := t.features
	for i, p := range t.projector {
		f := device.Identity
		if i < len(t.projector)-1 {
			f = t.Config.ProjectorActivation
		}
		t.dev.LinearBias(t.projected[i], x, n, p.w, p.b, f)
		x = t.projected[i]
	}
	out := make([]float32, n*x.Cols())
	t.dev.Read(out, x, 0, n)
	return out, t.dev.Sync()
}

// Close frees the tower's memory on the device.
func (t *Tower) Close() {
	for _, w := range t.weights {
		w.Free()
	}
	for _, b := range t.buffers {
		b.Free()
	}
	t.weights, t.buffers = nil, nil
}
