// Registry-referrers is an in-memory registry with the referrers API. It
// prints "listening on ADDRESS" once it is ready, and ends with its process.
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
)

func main() {
	address := flag.String("listen", "127.0.0.1:0", "address to listen on; port 0 picks a free one")
	immutable := flag.Bool("immutable-tags", false, "refuse to move a tag")
	noReferrers := flag.Bool("no-referrers", false, "answer 404 to the referrers API")
	flag.Parse()
	if err := serve(*address, *immutable, *noReferrers); err != nil {
		fmt.Fprintln(os.Stderr, "registry-referrers:", err)
		os.Exit(1)
	}
}

func serve(address string, immutable, noReferrers bool) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	memory := ocimem.NewWithConfig(&ocimem.Config{ImmutableTags: immutable})
	handler := ociserver.New(memory, &ociserver.Options{DisableReferrersAPI: noReferrers})
	fmt.Println("listening on", listener.Addr())
	return http.Serve(listener, handler)
}
