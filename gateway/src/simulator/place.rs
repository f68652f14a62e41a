//! Display names of Azure regions: `x-ms-region` carries these, not the slugs.

/// Slug and display name of the regions that offer Azure OpenAI or are commonly simulated.
const NAMES: [(&str, &str); 40] = [
    ("eastus", "East US"),
    ("eastus2", "East US 2"),
    ("centralus", "Central US"),
    ("northcentralus", "North Central US"),
    ("southcentralus", "South Central US"),
    ("westcentralus", "West Central US"),
    ("westus", "West US"),
    ("westus2", "West US 2"),
    ("westus3", "West US 3"),
    ("canadacentral", "Canada Central"),
    ("canadaeast", "Canada East"),
    ("brazilsouth", "Brazil South"),
    ("mexicocentral", "Mexico Central"),
    ("australiaeast", "Australia East"),
    ("australiasoutheast", "Australia Southeast"),
    ("newzealandnorth", "New Zealand North"),
    ("japaneast", "Japan East"),
    ("japanwest", "Japan West"),
    ("koreacentral", "Korea Central"),
    ("eastasia", "East Asia"),
    ("southeastasia", "Southeast Asia"),
    ("centralindia", "Central India"),
    ("southindia", "South India"),
    ("northeurope", "North Europe"),
    ("westeurope", "West Europe"),
    ("francecentral", "France Central"),
    ("germanywestcentral", "Germany West Central"),
    ("germanynorth", "Germany North"),
    ("norwayeast", "Norway East"),
    ("norwaywest", "Norway West"),
    ("swedencentral", "Sweden Central"),
    ("switzerlandnorth", "Switzerland North"),
    ("switzerlandwest", "Switzerland West"),
    ("italynorth", "Italy North"),
    ("spaincentral", "Spain Central"),
    ("polandcentral", "Poland Central"),
    ("uksouth", "UK South"),
    ("ukwest", "UK West"),
    ("uaenorth", "UAE North"),
    ("southafricanorth", "South Africa North"),
];

/// The display name of a slug; an unknown slug is its own.
pub(crate) fn display_name(slug: &str) -> &str {
    NAMES.iter().find(|(known, _)| *known == slug).map_or(slug, |(_, name)| name)
}
