//go:build linux

package images

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
)

// authorizer answers a registry that asks who we are, for one repository. It
// is silent until it is asked.
type authorizer struct {
	credentials Credentials
	scopes      []string // repository:library/debian:pull
	client      *http.Client

	mu     sync.Mutex
	header string // the value of Authorization, "" until it is known
}

// authorization returns the value for a request's Authorization header.
func (a *authorizer) authorization() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.header
}

// answer makes the authorization that a 401 response to a request asks for;
// used is what that request had sent. The error is Unauthenticated where there
// is none to be had.
func (a *authorizer) answer(ctx context.Context, resp *http.Response, used string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.header != used {
		return nil // another request has got a newer one meanwhile
	}
	for _, value := range resp.Header.Values("WWW-Authenticate") {
		scheme, params := parseChallenge(value)
		switch {
		case scheme == "bearer" && a.credentials.RegistryToken != "":
			token := "Bearer " + a.credentials.RegistryToken
			if used == token {
				return responseError(resp) // it is all that we have
			}
			a.header = token
			return nil
		case scheme == "bearer":
			token, err := a.token(ctx, resp.Request.URL, params)
			if err != nil {
				return err
			}
			a.header = "Bearer " + token
			return nil
		case scheme == "basic" && a.credentials.Username != "" && used == "":
			pair := a.credentials.Username + ":" + a.credentials.Password
			a.header = "Basic " + base64.StdEncoding.EncodeToString([]byte(pair))
			return nil
		}
	}
	return responseError(resp)
}

// token asks the server that a registry trusts for a token
// (https://distribution.github.io/distribution/spec/auth/token/).
func (a *authorizer) token(ctx context.Context, registry *url.URL, params map[string]string) (string, error) {
	realm, err := url.Parse(params["realm"])
	if err != nil || realm.Host == "" {
		return "", errorf(errdefs.ErrUnauthenticated, "registry %s asks for a token from %q, which is no URL", registry.Host, params["realm"])
	}
	// The registry chooses the realm. It must not make us send in plain text
	// what we would have sent to it encrypted.
	if a.credentials != (Credentials{}) && realm.Scheme != "https" && registry.Scheme == "https" {
		return "", errorf(errdefs.ErrUnauthenticated, "registry %s asks for credentials over plain HTTP at %s", registry.Host, realm.Host)
	}
	scopes := slices.Clone(a.scopes)
	if scope := params["scope"]; scope != "" && !slices.Contains(scopes, scope) {
		scopes = append(scopes, scope)
	}
	req, err := a.tokenRequest(ctx, realm, params["service"], scopes)
	if err != nil {
		return "", err
	}
	req.Header.Set("User-Agent", userAgent)
	resp, err := a.client.Do(req)
	if err != nil {
		return "", networkError(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("token from %s: %w", realm.Host, responseError(resp))
	}
	raw, err := readDocument(resp.Body, "token from "+realm.Host)
	if err != nil {
		return "", err
	}
	var body struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return "", errorf(errdefs.ErrUnauthenticated, "token from %s: %w", realm.Host, err)
	}
	if body.Token == "" {
		body.Token = body.AccessToken
	}
	if body.Token == "" {
		return "", errorf(errdefs.ErrUnauthenticated, "token from %s: the answer has none", realm.Host)
	}
	return body.Token, nil
}

// tokenRequest asks a token server with a password, or as nobody, in the way of
// Docker, and with an identity token in the way of OAuth 2
// (https://distribution.github.io/distribution/spec/auth/oauth/).
func (a *authorizer) tokenRequest(ctx context.Context, realm *url.URL, service string, scopes []string) (*http.Request, error) {
	if a.credentials.IdentityToken != "" {
		form := url.Values{
			"grant_type":    {"refresh_token"},
			"refresh_token": {a.credentials.IdentityToken},
			"service":       {service},
			"scope":         {strings.Join(scopes, " ")},
			"client_id":     {userAgent},
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, realm.String(), strings.NewReader(form.Encode()))
		if err != nil {
			return nil, err
		}
		req.GetBody = nil // no redirect may take the token to another server
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return req, nil
	}
	query := realm.Query()
	if service != "" {
		query.Set("service", service)
	}
	query["scope"] = scopes
	at := *realm
	at.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err == nil && a.credentials.Username != "" {
		req.SetBasicAuth(a.credentials.Username, a.credentials.Password)
	}
	return req, err
}

// parseChallenge reads one WWW-Authenticate value: the scheme in lower case,
// and its parameters (RFC 9110, section 11.6.1; one challenge a header, as
// registries send them).
func parseChallenge(value string) (scheme string, params map[string]string) {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(value), " ")
	params = make(map[string]string)
	for rest = strings.TrimLeft(rest, " ,\t"); rest != ""; rest = strings.TrimLeft(rest, " ,\t") {
		key, after, ok := strings.Cut(rest, "=")
		if !ok {
			break
		}
		var val strings.Builder
		if strings.HasPrefix(after, `"`) {
			i := 1
			for ; i < len(after) && after[i] != '"'; i++ {
				if after[i] == '\\' && i+1 < len(after) {
					i++
				}
				val.WriteByte(after[i])
			}
			rest = after[min(i+1, len(after)):]
		} else {
			var token string
			token, rest, _ = strings.Cut(after, ",")
			val.WriteString(strings.TrimSpace(token))
		}
		params[strings.ToLower(strings.TrimSpace(key))] = val.String()
	}
	return strings.ToLower(scheme), params
}
