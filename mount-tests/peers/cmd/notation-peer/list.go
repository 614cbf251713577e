package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/notaryproject/notation-go/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	branch     = "\u251c\u2500\u2500 "
	lastBranch = "\u2514\u2500\u2500 "
)

var errTooMany = errors.New("too many signatures")

func list(ctx context.Context, opts options) error {
	// Only signing forces the fallback tag.
	opts.forceTag = false
	target, err := open(ctx, opts)
	if err != nil {
		return err
	}
	var signatures []ocispec.Descriptor
	err = target.repository.ListSignatures(ctx, target.descriptor, func(page []ocispec.Descriptor) error {
		signatures = append(signatures, page...)
		if len(signatures) > opts.maxSignatures {
			return errTooMany
		}
		return nil
	})
	if err != nil && !errors.Is(err, errTooMany) {
		return err
	}
	if len(signatures) == 0 {
		fmt.Println(target, "has no associated signature")
		return nil
	}
	fmt.Println(target)
	fmt.Println(lastBranch + registry.ArtifactTypeNotation)
	shown := signatures[:min(len(signatures), opts.maxSignatures)]
	for i, signature := range shown {
		mark := branch
		if i == len(shown)-1 {
			mark = lastBranch
		}
		fmt.Println("    " + mark + signature.Digest.String())
	}
	if len(shown) < len(signatures) {
		fmt.Printf("Warning: exceeded configured limit of max signatures %d to examine\n", opts.maxSignatures)
	}
	return nil
}
