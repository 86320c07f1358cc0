package method

// magnitude removes the heads and neurons whose weights have the smallest norms. It needs
// no text.
func magnitude() Method {
	return uniform{"magnitude", "heads and neurons of small weights", "magnitude"}
}
