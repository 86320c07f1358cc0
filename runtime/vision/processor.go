package vision

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"mop/internal/files"
	"mop/runtime/config"
)

// maxSide bounds the sizes of a preprocessor's output, in pixels.
const maxSide = 4096

// Processor turns a picture into the input of a vision tower: it is resized, cropped,
// rescaled and normalized, as transformers' CLIPImageProcessor does.
type Processor struct {
	ShortestEdge  int     // resize so that the shorter side has this size, 0 = to Width x Height
	Width, Height int     // of the resized picture, where ShortestEdge is 0
	CropWidth     int     // of the crop in the centre, where DoCrop is set
	CropHeight    int     //
	Resize, Crop  bool    // which of the two steps are done
	Pad           bool    // first pad to a square with the mean colour, as LLaVA's own code does
	Rescale       float64 // factor on 8-bit values; 0 = 1
	Mean, Std     [3]float64
}

// CLIPProcessor is that of OpenAI's CLIP models for towers of a given image size.
func CLIPProcessor(size int) *Processor {
	return &Processor{
		ShortestEdge: size, CropWidth: size, CropHeight: size, Resize: true, Crop: true, Rescale: 1. / 255,
		Mean: [3]float64{0.48145466, 0.4578275, 0.40821073}, Std: [3]float64{0.26862954, 0.26130258, 0.27577711},
	}
}

// OpenProcessor reads preprocessor_config.json of a model directory. Without the file it is
// CLIP's for the tower's image size. A config with image_aspect_ratio "pad" pads, as LLaVA's
// own releases state it.
func OpenProcessor(dir string, c *config.Config, imageSize int) (*Processor, error) {
	p := CLIPProcessor(imageSize)
	path := filepath.Join(dir, "preprocessor_config.json")
	data, err := files.ReadText(path, 1<<20)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		if err := p.parse(data); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	if c.Multimodal["image_aspect_ratio"] == "pad" {
		p.Pad = true
	}
	if w, h := p.outputSize(); w != imageSize || h != imageSize {
		return nil, fmt.Errorf("%s: want pictures of %d x %d pixels, as the vision tower takes them, got %d x %d", path, imageSize, imageSize, w, h)
	}
	return p, nil
}

// sides is a size in a preprocessor's config: a number, or an object.
type sides struct {
	Shortest int `json:"shortest_edge"`
	Height   int `json:"height"`
	Width    int `json:"width"`
}

func (s *sides) UnmarshalJSON(data []byte) error {
	if n := 0; json.Unmarshal(data, &n) == nil {
		s.Shortest, s.Height, s.Width = n, n, n
		return nil
	}
	type plain sides
	return json.Unmarshal(data, (*plain)(s))
}

func (p *Processor) parse(data []byte) error {
	var c struct {
		Resize    *bool      `json:"do_resize"`
		Crop      *bool      `json:"do_center_crop"`
		Rescale   *bool      `json:"do_rescale"`
		Normalize *bool      `json:"do_normalize"`
		Pad       bool       `json:"do_pad"`
		Resample  *int       `json:"resample"`
		Factor    *float64   `json:"rescale_factor"`
		Mean      *[]float64 `json:"image_mean"`
		Std       *[]float64 `json:"image_std"`
		Size      *sides     `json:"size"`
		CropSize  *sides     `json:"crop_size"`
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return fmt.Errorf("want a JSON object: %w", err)
	}
	set := func(to *bool, from *bool) {
		if from != nil {
			*to = *from
		}
	}
	set(&p.Resize, c.Resize)
	set(&p.Crop, c.Crop)
	p.Pad = c.Pad
	if c.Resample != nil && *c.Resample != 3 {
		return fmt.Errorf("resample: want 3 (bicubic), got %d", *c.Resample)
	}
	if c.Factor != nil {
		p.Rescale = *c.Factor
	}
	if c.Rescale != nil && !*c.Rescale {
		p.Rescale = 1
	}
	for _, v := range []struct {
		name string
		to   *[3]float64
		from *[]float64
		rest float64
	}{{"image_mean", &p.Mean, c.Mean, 0}, {"image_std", &p.Std, c.Std, 1}} {
		if v.from != nil {
			if len(*v.from) != 3 {
				return fmt.Errorf("%s: want 3 numbers, got %v", v.name, *v.from)
			}
			copy(v.to[:], *v.from)
		}
		if c.Normalize != nil && !*c.Normalize && !p.Pad { // padding needs the mean
			*v.to = [3]float64{v.rest, v.rest, v.rest}
		}
	}
	if c.Size != nil {
		p.ShortestEdge, p.Width, p.Height = c.Size.Shortest, c.Size.Width, c.Size.Height
	}
	if c.CropSize != nil {
		p.CropWidth, p.CropHeight = c.CropSize.Width, c.CropSize.Height
		if c.CropSize.Shortest > 0 && c.CropSize.Width == 0 {
			p.CropWidth, p.CropHeight = c.CropSize.Shortest, c.CropSize.Shortest
		}
	}
	return p.check()
}

func (p *Processor) check() error {
	bad := func(n int) bool { return n < 1 || n > maxSide }
	if p.Resize && bad(p.ShortestEdge) && (bad(p.Width) || bad(p.Height)) {
		return fmt.Errorf("size: want shortest_edge, or height and width, from 1 to %d", maxSide)
	}
	if p.Crop && (bad(p.CropWidth) || bad(p.CropHeight)) {
		return fmt.Errorf("crop_size: want height and width from 1 to %d, got %d and %d", maxSide, p.CropHeight, p.CropWidth)
	}
	if !p.Crop && (!p.Resize || p.ShortestEdge > 0 && !p.Pad) {
		return errors.New("do_center_crop: want true, because the vision tower takes pictures of one size")
	}
	for i := range 3 {
		if !(p.Std[i] > 0) || math.IsNaN(p.Mean[i]) {
			return fmt.Errorf("image_mean and image_std: want numbers, those of image_std above 0, got %v and %v", p.Mean, p.Std)
		}
	}
	return nil
}

func (p *Processor) outputSize() (width, height int) {
	switch {
	case p.Crop:
		return p.CropWidth, p.CropHeight
	case p.ShortestEdge > 0:
		return p.ShortestEdge, p.ShortestEdge
	}
	return p.Width, p.Height
}

// Levels is the picture before it is rescaled: resized and cropped, in 8 bits.
func (p *Processor) Levels(m *Picture) *Picture {
	if p.Pad {
		m = m.squared([3]uint8{uint8(p.Mean[0] * 255), uint8(p.Mean[1] * 255), uint8(p.Mean[2] * 255)})
	}
	w, h := m.Width, m.Height
	switch {
	case p.Resize && p.ShortestEdge > 0 && w <= h:
		w, h = p.ShortestEdge, int(float64(p.ShortestEdge*h)/float64(w))
	case p.Resize && p.ShortestEdge > 0:
		w, h = int(float64(p.ShortestEdge*w)/float64(h)), p.ShortestEdge
	case p.Resize:
		w, h = p.Width, p.Height
	}
	c := crop{0, 0, w, h}
	if p.Crop {
		c = crop{centred(w, p.CropWidth), centred(h, p.CropHeight), p.CropWidth, p.CropHeight}
	}
	return m.resized(w, h, c)
}

// centred is where a crop begins: below zero where it is larger than the picture.
func centred(size, crop int) int {
	if crop > size {
		return -((crop - size + 1) / 2)
	}
	return (size - crop) / 2
}

// Pixels is the input of the tower.   [3, H, W]
func (p *Processor) Pixels(m *Picture) []float32 {
	l := p.Levels(m)
	n := l.Width * l.Height
	out := make([]float32, 3*n)
	factor := p.Rescale
	if factor == 0 {
		factor = 1
	}
	for c := range 3 {
		var table [256]float32
		for v := range table {
			table[v] = float32((float64(float32(float64(v)*factor)) - p.Mean[c]) / p.Std[c])
		}
		for i := range n {
			out[c*n+i] = table[l.Pix[3*i+c]]
		}
	}
	return out
}

// squared pads the shorter side on both ends with a colour.
func (p *Picture) squared(colour [3]uint8) *Picture {
	if p.Width == p.Height {
		return p
	}
	side := max(p.Width, p.Height)
	q := newPicture(side, side)
	for i := 0; i < len(q.Pix); i += 3 {
		copy(q.Pix[i:], colour[:])
	}
	x, y := (side-p.Width)/2, (side-p.Height)/2
	for r := range p.Height {
		copy(q.Pix[3*((y+r)*side+x):], p.Pix[3*r*p.Width:3*(r+1)*p.Width])
	}
	return q
}
