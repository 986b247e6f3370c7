//! Imports within a crate, read from its sources.
//!
//! Paths are followed through `use` and re-exports to the file that defines what they name. Methods are not
//! seen, nor what a macro writes, nor names that a glob brings in beyond the module of the glob.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree};

/// A module's path below the crate, such as `["sqlite", "writer"]`; the root is empty.
type Module = Vec<String>;

/// A path as written in a module: its first segment says where it starts.
type Segments = Vec<String>;

/// The source files of one crate, as modules.
#[derive(Debug)]
pub struct Crate {
    modules: BTreeMap<Module, Source>,
}

/// What one file says of others.
#[derive(Debug, Default)]
struct Source {
    file: PathBuf,
    /// Names that `use` brings in, and where from.
    imports: BTreeMap<String, Segments>,
    /// All paths in types, expressions and `use`.
    paths: BTreeSet<Segments>,
}

impl Crate {
    /// Reads all modules that follow from the root file.
    pub fn read(root: &Path) -> Self {
        let mut modules = BTreeMap::new();
        read_module(&mut modules, Vec::new(), root, root.parent().expect("a folder"));
        Crate { modules }
    }

    /// The files that use each other in a circle, as the files of each circle.
    pub fn circles(&self) -> Vec<Vec<PathBuf>> {
        let arrows = self.arrows();
        let reach: BTreeMap<&Module, BTreeSet<&Module>> =
            self.modules.keys().map(|module| (module, reachable(&arrows, module))).collect();
        let mut circles = BTreeSet::new();
        for module in self.modules.keys() {
            let circle: Vec<PathBuf> = reach[module]
                .iter()
                .filter(|other| reach[*other].contains(module))
                .map(|other| self.modules[*other].file.clone())
                .collect();
            if circle.len() > 1 {
                circles.insert(circle);
            }
        }
        circles.into_iter().collect()
    }

    /// For each module those whose items it names. The declaration of a module is no use of it.
    fn arrows(&self) -> BTreeMap<&Module, BTreeSet<&Module>> {
        let mut arrows = BTreeMap::new();
        for (module, source) in &self.modules {
            let mut used = BTreeSet::new();
            for path in &source.paths {
                if let Some(target) = self.resolve(module, path, 8)
                    && target != module
                {
                    used.insert(target);
                }
            }
            arrows.insert(module, used);
        }
        arrows
    }

    /// The module that defines what the path names, where that lies in this crate.
    fn resolve(&self, from: &Module, path: &[String], depth: usize) -> Option<&Module> {
        let (mut at, mut rest): (Module, &[String]) = match path.first()?.as_str() {
            "crate" => (Vec::new(), &path[1..]),
            "self" => (from.clone(), &path[1..]),
            "super" => (from[..from.len().checked_sub(1)?].to_vec(), &path[1..]),
            _ => (from.clone(), path),
        };
        while let Some(first) = rest.first() {
            if first == "super" {
                at.pop()?;
                rest = &rest[1..];
                continue;
            }
            let mut deeper = at.clone();
            deeper.push(first.clone());
            if self.modules.contains_key(&deeper) {
                at = deeper;
                rest = &rest[1..];
                continue;
            }
            break;
        }
        let (module, source) = self.modules.get_key_value(&at)?;
        let Some(name) = rest.first() else { return Some(module) };
        if let Some(import) = source.imports.get(name) {
            // A name that leads out of the crate, or to itself, is nobody's here.
            if depth == 0 || import.as_slice() == path {
                return None;
            }
            return self.resolve(&at, import, depth - 1);
        }
        // Where the path starts with no keyword and names no import, it is a crate, a local or an item of the file.
        Some(module)
    }
}

fn reachable<'a>(
    arrows: &BTreeMap<&'a Module, BTreeSet<&'a Module>>,
    from: &'a Module,
) -> BTreeSet<&'a Module> {
    let mut seen = BTreeSet::from([from]);
    let mut open = vec![from];
    while let Some(module) = open.pop() {
        for next in &arrows[module] {
            if seen.insert(*next) {
                open.push(*next);
            }
        }
    }
    seen
}

fn read_module(modules: &mut BTreeMap<Module, Source>, module: Module, file: &Path, folder: &Path) {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let syntax = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut source = Source { file: file.to_owned(), ..Source::default() };
    source.visit_file(&syntax);
    modules.insert(module.clone(), source);
    for item in &syntax.items {
        let Item::Mod(ItemMod { ident, content: None, attrs, .. }) = item else { continue };
        if is_for_tests(attrs) {
            continue;
        }
        let mut child = module.clone();
        child.push(ident.to_string());
        let path = folder.join(format!("{ident}.rs"));
        read_module(modules, child, &path, &folder.join(ident.to_string()));
    }
}

/// Tests may look at whatever they test.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
    })
}

impl Source {
    fn import(&mut self, tree: &UseTree, prefix: &[String]) {
        let with = |name: &dyn ToString| [prefix, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.import(&path.tree, &with(&path.ident)),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, prefix);
                }
            }
            UseTree::Name(name) if name.ident == "self" => {
                if let Some(last) = prefix.last() {
                    self.add(last.clone(), prefix.to_vec());
                }
            }
            UseTree::Name(name) => self.add(name.ident.to_string(), with(&name.ident)),
            UseTree::Rename(name) => self.add(name.rename.to_string(), with(&name.ident)),
            UseTree::Glob(_) => {
                self.paths.insert(prefix.to_vec());
            }
        }
    }

    fn add(&mut self, name: String, path: Segments) {
        self.paths.insert(path.clone());
        if path.len() > 1 {
            self.imports.insert(name, path);
        }
    }
}

impl<'a> Visit<'a> for Source {
    fn visit_item_use(&mut self, item: &'a ItemUse) {
        self.import(&item.tree, &[]);
    }

    fn visit_item_mod(&mut self, item: &'a ItemMod) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let segments: Segments = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if segments.len() > 1 {
            self.paths.insert(segments);
        }
        visit::visit_path(self, path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The circles of a crate with these files, by their names.
    fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let name = |path: PathBuf| path.strip_prefix(folder.path()).unwrap().display().to_string();
        let circles = Crate::read(&folder.path().join("lib.rs")).circles();
        circles.into_iter().map(|circle| circle.into_iter().map(name).collect()).collect()
    }

    #[test]
    fn two_files_that_name_each_other_are_a_circle() {
        let files = [
            ("lib.rs", "mod a;\nmod b;"),
            ("a.rs", "use crate::b::B;\npub struct A(B);"),
            ("b.rs", "pub struct B;\nfn f(_: &super::a::A) {}"),
        ];
        assert_eq!(circles(&files), [["a.rs", "b.rs"]]);
    }

    #[test]
    fn re_exports_lead_to_the_file_that_defines() {
        let files = [
            ("lib.rs", "mod a;\nmod b;\npub use a::A;"),
            ("a.rs", "pub struct A;"),
            ("b.rs", "use crate::A;\nfn f(_: A) {}"),
        ];
        assert_eq!(circles(&files), [] as [[&str; 0]; 0]);
    }

    #[test]
    fn a_module_and_its_child_can_be_a_circle() {
        let files = [
            ("lib.rs", "mod a;"),
            ("a.rs", "mod child;\npub struct A(child::Child);"),
            ("a/child.rs", "use super::A;\npub struct Child(Box<A>);"),
        ];
        assert_eq!(circles(&files), [["a.rs", "a/child.rs"]]);
    }

    #[test]
    fn tests_may_look_at_what_they_test() {
        let files = [
            ("lib.rs", "mod a;"),
            ("a.rs", "mod child;\npub struct A(child::Child);"),
            ("a/child.rs", "pub struct Child;\n#[cfg(test)]\nmod tests { use crate::a::A; }"),
        ];
        assert_eq!(circles(&files), [] as [[&str; 0]; 0]);
    }
}
