package method

// randomMethod removes random heads and neurons, which depend on the seed. It needs no text.
func randomMethod() Method {
	return uniform{"random", "random heads and neurons", "random"}
}
