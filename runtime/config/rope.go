package config

import "math"

// InvFreq is the rotary frequencies, radians per position [Dh/2]:
// theta^(-2i/Dh), formed in float32 as transformers does, then scaled.
func (c *Config) InvFreq() []float32 {
	f := make([]float32, c.HeadDim/2)
	for i := range f {
		exponent := float32(2*i) / float32(c.HeadDim)
		f[i] = 1 / float32(math.Pow(c.RopeTheta, float64(exponent)))
	}
	if r := c.RopeScaling; r != nil {
		for i := range f {
			f[i] = r.scale(f[i])
		}
	}
	return f
}

// scale stretches one frequency. For llama3: short wavelengths stay, long ones
// are stretched by Factor, and those between are joined by a ramp in
// OriginalPositions/wavelength.
func (r *RopeScaling) scale(f float32) float32 {
	if r.Type == "linear" {
		return f / float32(r.Factor)
	}
	wavelength := 2 * math.Pi / float64(f)
	original := float64(r.OriginalPositions)
	switch {
	case wavelength < original/r.HighFreqFactor:
		return f
	case wavelength > original/r.LowFreqFactor:
		return f / float32(r.Factor)
	}
	ramp := (original/wavelength - r.LowFreqFactor) / (r.HighFreqFactor - r.LowFreqFactor)
	return float32((1-ramp)*float64(f)/r.Factor + ramp*float64(f))
}
