package cpu

// scratch is memory that is used over and over: some arrays, each as long as it
// ever had to be.
type scratch [6][]float32

// take is array i with n elements, contents undefined. It lasts until the next
// take of the same i.
func (s *scratch) take(i, n int) []float32 { return resizeScratch(&s[i], n) }
