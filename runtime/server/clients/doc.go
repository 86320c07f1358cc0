// Package clients tests the server with the official clients of the APIs that it offers. They
// take long to compile, so that they are apart from the server's own tests.
package clients
