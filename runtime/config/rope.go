package config

import "math"

// InvFreq returns the rotary frequencies, in radians per position [Dh/2],
//
//	f[i] = theta^(-2i/Dh)
//
// after scaling. Every step is rounded to float32 in transformers' order (there a/b
// with a number a is a times the rounded 1/b), so that the results agree exactly or,
// where the power functions differ, to about the last bit.
func (c *Config) InvFreq() []float32 {
	f := make([]float32, c.HeadDim/2)
	theta := float64(float32(c.RopeTheta))
	for i := range f {
		exponent := float32(2*i) / float32(c.HeadDim)
		f[i] = 1 / float32(math.Pow(theta, float64(exponent)))
		if c.RopeScaling != nil {
			f[i] = c.RopeScaling.scale(f[i])
		}
	}
	return f
}

// scale scales one frequency. For llama3, short wavelengths do not change, long ones
// grow by Factor, and those between are interpolated in OriginalPositions/wavelength.
func (r *RopeScaling) scale(f float32) float32 {
	factor := float32(r.Factor)
	if r.Type == "dynamic" {
		return f
	}
	if r.Type == "linear" {
		return f / factor
	}
	original := float64(r.OriginalPositions)
	wavelength := (1 / f) * float32(2*math.Pi)
	switch {
	case wavelength < float32(original/r.HighFreqFactor):
		return f
	case wavelength > float32(original/r.LowFreqFactor):
		return f / factor
	}
	periods := (1 / wavelength) * float32(original)
	ramp := (periods - float32(r.LowFreqFactor)) / float32(r.HighFreqFactor-r.LowFreqFactor)
	// The conversions prevent fused multiply-adds.
	return float32((1-ramp)*f/factor) + float32(ramp*f)
}
