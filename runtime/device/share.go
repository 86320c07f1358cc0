package device

// PageSharer is a KVCache whose slots can have pages in common. It is optional.
type PageSharer interface {
	KVCache
	// Share gives slot to, which has no pages, the first pages of slot from. They stay until
	// no slot has them any more. What is stored in them must not be changed meanwhile.
	Share(to, from, pages int) error
}
