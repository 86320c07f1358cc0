package study

// Markdown is the report as text.
func (r *Result) Markdown() string { return "" }
