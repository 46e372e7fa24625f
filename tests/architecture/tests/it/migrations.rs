//! The two databases change together.

use super::workspace::names_in;

#[test]
fn both_databases_have_the_same_migrations() {
    let postgres = names_in("migrations/postgres");
    assert_eq!(postgres, names_in("migrations/sqlite"));
    assert!(!postgres.is_empty());
}

#[test]
fn migrations_are_numbered_without_gaps() {
    for (index, name) in names_in("migrations/sqlite").iter().enumerate() {
        let number = format!("{:04}_", index + 1);
        assert!(
            name.starts_with(&number) && name.ends_with(".sql"),
            "{name} should be {number}….sql"
        );
    }
}
