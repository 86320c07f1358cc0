package jpeg

// Constants of the inverse transform in units of 2^-13: the algorithm of Loeffler,
// Ligtenberg and Moschytz (ICASSP 1989) with 12 multiplications.
const (
	f0298 = 2446  // 0.298631336
	f0390 = 3196  // 0.390180644
	f0541 = 4433  // 0.541196100
	f0765 = 6270  // 0.765366865
	f0899 = 7373  // 0.899976223
	f1175 = 9633  // 1.175875602
	f1501 = 12299 // 1.501321110
	f1847 = 15137 // 1.847759065
	f1961 = 16069 // 1.961570560
	f2053 = 16819 // 2.053119869
	f2562 = 20995 // 2.562915447
	f3072 = 25172 // 3.072711026

	fractionBits = 13
	middleBits   = 2 // of a column's results
)

// inverseDCT transforms a block and writes its samples. The rounding after the columns and
// after the rows is that of libjpeg's accurate integer method, so that the samples are
// equal.   quantization [64], row by row
func inverseDCT(out []uint8, stride int, b *[64]int16, quantization *[64]int32) {
	var m [64]int32
	for x := range 8 {
		var v [8]int32
		for y := range v {
			v[y] = int32(b[8*y+x]) * quantization[8*y+x]
		}
		transform8(&v)
		for y := range v {
			m[8*y+x] = (v[y] + 1<<(fractionBits-middleBits-1)) >> (fractionBits - middleBits)
		}
	}
	const shift = fractionBits + middleBits + 3
	for y := range 8 {
		v := (*[8]int32)(m[8*y : 8*y+8])
		transform8(v)
		row := out[y*stride : y*stride+8]
		for x := range row {
			row[x] = clamp8(int((v[x]+1<<(shift-1))>>shift) + 128)
		}
	}
}

// transform8 is the inverse transform of eight coefficients, times 2^13.
func transform8(v *[8]int32) {
	z := (v[2] + v[6]) * f0541
	a2, a3 := z-v[6]*f1847, z+v[2]*f0765
	a0, a1 := (v[0]+v[4])<<fractionBits, (v[0]-v[4])<<fractionBits
	e0, e3, e1, e2 := a0+a3, a0-a3, a1+a2, a1-a2

	z1, z2, z3, z4 := v[7]+v[1], v[5]+v[3], v[7]+v[3], v[5]+v[1]
	z5 := (z3 + z4) * f1175
	z1, z2 = -z1*f0899, -z2*f2562
	z3, z4 = z5-z3*f1961, z5-z4*f0390
	o0 := v[7]*f0298 + z1 + z3
	o1 := v[5]*f2053 + z2 + z4
	o2 := v[3]*f3072 + z2 + z3
	o3 := v[1]*f1501 + z1 + z4

	v[0], v[7] = e0+o3, e0-o3
	v[1], v[6] = e1+o2, e1-o2
	v[2], v[5] = e2+o1, e2-o1
	v[3], v[4] = e3+o0, e3-o0
}

func clamp8(v int) uint8 { return uint8(min(max(v, 0), 255)) }
