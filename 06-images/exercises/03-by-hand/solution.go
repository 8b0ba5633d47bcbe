//go:build solution

// Package byhand is an exercise of chapter 6.
package byhand

// Script prints the manifest of tag $3 in repository $2 of the registry whose
// URL is $1, and fails where the registry does not give it.
const Script = `
url="$1/v2/$2/manifests/$3"
challenge=$(curl -s -i "$url" | tr -d '\r' | sed -n 's/^[Ww][Ww][Ww]-[Aa]uthenticate: //p')
value() { printf '%s' "$challenge" | sed -n "s/.*$1=\"\([^\"]*\)\".*/\1/p"; }
token=$(curl -s -f -G --data-urlencode "service=$(value service)" --data-urlencode "scope=$(value scope)" "$(value realm)" |
	sed -n 's/.*"token": *"\([^"]*\)".*/\1/p')
curl -s -f -H "Authorization: Bearer $token" -H 'Accept: application/vnd.oci.image.manifest.v1+json' "$url"
`
