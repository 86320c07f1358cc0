package zeroshot

// openbookqa: the context is the question as it stands.
func openbookqa() Task {
	return Task{Name: "openbookqa", Norm: true, Split: []string{"test"}, Formats: []Format{
		lettered("question_stem", "", choose),
		stem("openbook", choose),
		foundry("openbook", choose),
	}}
}
