package zeroshot

// arcEasy and arcChallenge: the context is "Question: {question}\nAnswer:". Their rows
// look the same, so a file must have the task's name in its path.
func arcEasy() Task      { return arc("arc_easy") }
func arcChallenge() Task { return arc("arc_challenge") }

func arc(name string) Task {
	ask := func(question string, texts []string, gold int) (Question, error) {
		return choose("Question: "+question+"\nAnswer:", texts, gold)
	}
	return Task{Name: name, Norm: true, Split: []string{"test"}, Formats: []Format{
		lettered("question", name, ask),
		stem(name, ask),
		foundry(name, func(query string, texts []string, gold int) (Question, error) {
			return choose(query+"\nAnswer:", texts, gold)
		}),
	}}
}
