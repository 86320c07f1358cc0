package method

// taylor is LLM-Pruner (arXiv 2305.11627) with its first-order score by elements.
func taylor() Method {
	return uniform{"taylor", "heads and neurons of small weights times gradients", "taylor"}
}
