//! What TikTok prescribes for the form of a post: "Required UX Implementation in Your App" of the Content Sharing
//! Guidelines (developers.tiktok.com/doc/content-sharing-guidelines, state of November 2026). Reviewers compare the
//! sentences literally.

use std::collections::BTreeMap;

use patchbay_core::{Declaration, Exclusion, Is, Notice, OptionGroup, PostForm, PostKind, PostMode, Translation};

const MUSIC: &str = "https://www.tiktok.com/legal/page/global/music-usage-confirmation/en";
const BRANDED: &str = "https://www.tiktok.com/legal/page/global/bc-policy/en";

pub(crate) fn form() -> PostForm {
    let branded = || Is::on("brand_content_toggle");
    PostForm {
        one_text: vec![PostKind::Video],
        groups: vec![interactions(), disclosure()],
        // Point 3.
        exclusions: vec![Exclusion {
            one: branded(),
            other: Is::chosen("privacy_level", "SELF_ONLY"),
            code: "branded_private",
            message: "Branded content visibility cannot be set to private.",
        }],
        // Points 2 and 4.
        declarations: vec![
            Declaration {
                modes: vec![PostMode::Direct],
                when: vec![branded()],
                text: "By posting, you agree to TikTok's [Branded Content Policy] and [Music Usage Confirmation].",
                links: vec![BRANDED, MUSIC],
            },
            Declaration {
                modes: vec![PostMode::Direct],
                when: Vec::new(),
                text: "By posting, you agree to TikTok's [Music Usage Confirmation].",
                links: vec![MUSIC],
            },
        ],
        // Point 5.
        afterwards: Some(
            "After you finish publishing, it may take a few minutes for the content to process and be visible on your \
             profile.",
        ),
        translations: vec![Translation {
            language: "fr",
            texts: BTreeMap::from(FRENCH),
        }],
    }
}

/// Point 2c.
fn interactions() -> OptionGroup {
    OptionGroup {
        title: "Allow users to",
        description: None,
        options: vec!["disable_comment", "disable_duet", "disable_stitch"],
        switch: None,
        notices: Vec::new(),
    }
}

/// Point 3.
fn disclosure() -> OptionGroup {
    OptionGroup {
        title: "Disclose post content",
        description: Some("Indicate whether this content promotes yourself, a brand, product or service."),
        options: vec!["brand_organic_toggle", "brand_content_toggle"],
        switch: Some("You need to indicate if your content promotes yourself, a third party, or both."),
        notices: vec![
            Notice {
                when: vec![Is::on("brand_content_toggle")],
                text: "Your photo/video will be labeled as 'Paid partnership'.",
            },
            Notice {
                when: vec![Is::on("brand_organic_toggle")],
                text: "Your photo/video will be labeled as 'Promotional content'.",
            },
        ],
    }
}

const FRENCH: [(&str, &str); 44] = [
    // Scopes.
    (
        "See your name and picture, to show which account is connected.",
        "Voir votre nom et votre photo, pour montrer quel compte est connecté.",
    ),
    (
        "See your handle and the link to your profile.",
        "Voir votre nom d’utilisateur et le lien vers votre profil.",
    ),
    (
        "Publish videos and photos to your profile.",
        "Publier des vidéos et des photos sur votre profil.",
    ),
    (
        "Send drafts to your TikTok inbox, for you to finish in the app.",
        "Envoyer des brouillons dans votre boîte de réception TikTok, que vous terminez dans l’application.",
    ),
    (
        "Read the counters of your public videos.",
        "Lire les compteurs de vos vidéos publiques.",
    ),
    // Quotas.
    ("direct posts", "publications directes"),
    ("pending drafts", "brouillons en attente"),
    // Options.
    ("Who can see this post", "Qui peut voir cette publication"),
    (
        "One of the levels that the account offers now.",
        "L’un des niveaux que le compte propose actuellement.",
    ),
    ("Everyone", "Tout le monde"),
    ("Friends", "Amis"),
    ("Followers", "Abonnés"),
    ("Only you", "Vous uniquement"),
    ("No comments", "Pas de commentaires"),
    ("Comment", "Commenter"),
    (
        "Nobody can comment on the post.",
        "Personne ne peut commenter la publication.",
    ),
    ("No Duet", "Pas de duo"),
    ("Duet", "Faire un duo"),
    (
        "Nobody can make a Duet with the video.",
        "Personne ne peut faire un duo avec la vidéo.",
    ),
    ("No Stitch", "Pas de collage"),
    ("Stitch", "Faire un collage"),
    (
        "Nobody can use parts of the video in a Stitch.",
        "Personne ne peut utiliser des extraits de la vidéo dans un collage.",
    ),
    ("Branded content", "Contenu de marque"),
    (
        "You are promoting another brand or a third party. This content will be classified as Branded Content.",
        "Vous faites la promotion d’une autre marque ou d’un tiers. Ce contenu sera classé comme contenu de marque.",
    ),
    ("Your brand", "Votre marque"),
    (
        "You are promoting yourself or your own business. This content will be classified as Brand Organic.",
        "Vous faites votre propre promotion ou celle de votre entreprise. Ce contenu sera classé comme marque organique.",
    ),
    ("AI-generated", "Généré par IA"),
    (
        "TikTok labels the video as generated by AI.",
        "TikTok indique que la vidéo a été générée par IA.",
    ),
    ("Cover frame", "Image de couverture"),
    (
        "Moment of the video that becomes its cover, in milliseconds. Without it the first frame does.",
        "Moment de la vidéo qui devient sa couverture, en millisecondes. Sinon, c’est la première image.",
    ),
    ("Add music", "Ajouter de la musique"),
    (
        "TikTok adds recommended music to the photos.",
        "TikTok ajoute une musique recommandée aux photos.",
    ),
    ("Cover photo", "Photo de couverture"),
    (
        "Position of the photo that becomes the cover, counted from 0. Without it the first one does.",
        "Position de la photo qui devient la couverture, à partir de 0. Sinon, c’est la première.",
    ),
    // The form.
    ("Allow users to", "Autoriser les utilisateurs à"),
    ("Disclose post content", "Déclarer un contenu commercial"),
    (
        "Indicate whether this content promotes yourself, a brand, product or service.",
        "Indiquez si ce contenu fait la promotion de vous-même, d’une marque, d’un produit ou d’un service.",
    ),
    (
        "You need to indicate if your content promotes yourself, a third party, or both.",
        "Vous devez indiquer si votre contenu fait la promotion de vous-même, d’un tiers ou des deux.",
    ),
    (
        "Your photo/video will be labeled as 'Paid partnership'.",
        "Votre photo/vidéo portera la mention « Partenariat rémunéré ».",
    ),
    (
        "Your photo/video will be labeled as 'Promotional content'.",
        "Votre photo/vidéo portera la mention « Contenu promotionnel ».",
    ),
    (
        "Branded content visibility cannot be set to private.",
        "La visibilité d’un contenu de marque ne peut pas être privée.",
    ),
    (
        "By posting, you agree to TikTok's [Branded Content Policy] and [Music Usage Confirmation].",
        "En publiant, vous acceptez la [Politique relative aux contenus de marque] et la [Confirmation d’utilisation de \
         la musique] de TikTok.",
    ),
    (
        "By posting, you agree to TikTok's [Music Usage Confirmation].",
        "En publiant, vous acceptez la [Confirmation d’utilisation de la musique] de TikTok.",
    ),
    (
        "After you finish publishing, it may take a few minutes for the content to process and be visible on your \
         profile.",
        "Après la publication, quelques minutes peuvent s’écouler avant que le contenu soit traité et visible sur votre \
         profil.",
    ),
];
