//! A Rust file as the checks see it: parsed, so that strings and comments fool nobody.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// One Rust file, parsed, with what the checks ask about it.
pub(crate) struct Source {
    pub(crate) path: String,
    /// The lines that carry code: no blank ones, no comments.
    pub(crate) code: BTreeSet<usize>,
    pub(crate) found: Found,
}

/// What a walk over the syntax finds. Ranges are first and last line, from 1.
#[derive(Default)]
pub(crate) struct Found {
    in_tests: usize,
    tests: Vec<(usize, usize)>,
    pub(crate) functions: Vec<(String, usize, usize)>,
    pub(crate) modules: Vec<String>,
    pub(crate) ignored: Vec<usize>,
    pub(crate) unwraps_allowed: Vec<usize>,
    pub(crate) metrics: Vec<String>,
}

impl Source {
    pub(crate) fn parse(path: &str, text: &str) -> Self {
        let syntax = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut code = BTreeSet::new();
        token_lines(text.parse().unwrap(), &mut code);
        // A doc comment is an attribute to the parser.
        for (number, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("//") {
                code.remove(&(number + 1));
            }
        }
        let mut found = Found { in_tests: usize::from(is_test_file(path)), ..Found::default() };
        found.visit_file(&syntax);
        Self { path: path.to_owned(), code, found }
    }

    /// Lines of code outside the tests.
    pub(crate) fn lines(&self) -> usize {
        let is_test =
            |line: &usize| self.found.tests.iter().any(|(first, last)| (first..=last).contains(&line));
        self.code.iter().filter(|line| !is_test(line)).count()
    }
}

fn is_test_file(path: &str) -> bool {
    path.split('/').any(|part| part == "tests" || part == "benches" || part == "tests.rs")
}

fn token_lines(tokens: TokenStream, lines: &mut BTreeSet<usize>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                lines.insert(group.span_open().start().line);
                lines.insert(group.span_close().end().line);
                token_lines(group.stream(), lines);
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {
                lines.extend(token.span().start().line..=token.span().end().line);
            }
        }
    }
}

fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let is_cfg_test = attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test");
        let last = attribute.path().segments.last().map(|segment| segment.ident.to_string());
        is_cfg_test || last.as_deref() == Some("test")
    })
}

impl Found {
    fn function(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let (first, last) = (signature.span().start().line, body.span().end().line);
        self.functions.push((signature.ident.to_string(), first, last));
    }

    /// Walks `inside` as test code if the attributes say that it is.
    fn scoped(&mut self, attributes: &[syn::Attribute], inside: impl FnOnce(&mut Self)) {
        let is_test = usize::from(is_test_only(attributes));
        self.in_tests += is_test;
        inside(self);
        self.in_tests -= is_test;
    }
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.modules.push(module.ident.to_string());
        if is_test_only(&module.attrs) {
            self.tests.push((module.span().start().line, module.span().end().line));
        }
        self.scoped(&module.attrs, |found| visit::visit_item_mod(found, module));
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.function(&function.sig, &function.block);
        self.scoped(&function.attrs, |found| visit::visit_item_fn(found, function));
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.function(&function.sig, &function.block);
        self.scoped(&function.attrs, |found| visit::visit_impl_item_fn(found, function));
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.function(&function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        let line = attribute.span().start().line;
        let text = attribute.meta.require_list().map(|list| list.tokens.to_string()).unwrap_or_default();
        let allows = attribute.path().is_ident("allow") || attribute.path().is_ident("expect");
        if attribute.path().is_ident("ignore") {
            self.ignored.push(line);
        }
        if allows && self.in_tests == 0 && (text.contains("unwrap_used") || text.contains("expect_used")) {
            self.unwraps_allowed.push(line);
        }
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let Some(syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(name), .. })) = call.args.first()
            && self.in_tests == 0
            && name.value().contains('_')
            && name.value().chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        {
            self.metrics.push(name.value());
        }
        visit::visit_expr_call(self, call);
    }
}
