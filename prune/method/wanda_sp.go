package method

// wandaSP is the structured form of Wanda (arXiv 2306.11695) with which FLAP (arXiv
// 2312.11983) compares itself: the sums of |W| times the norm of the input over columns.
func wandaSP() Method {
	return uniform{"wanda-sp", "heads and neurons of small weights times activations", "wanda"}
}
