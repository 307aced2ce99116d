"""The name and the look of the page, on Gradio's variables, in light and dark; ui/style.css has what a variable cannot say."""

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.themes.utils.colors import Color
from gradio.themes.utils.sizes import Size

from common.language import _

NAME = "TinyLlama Studio"
ABOUT = _("Fine-tune a small chat model on your own examples, watch it learn, and chat with it beside the original.")
FOLDER = Path(__file__).parent
MARK = FOLDER / "mark.svg"  # also the page's icon
STYLES = [FOLDER / "style.css", *sorted(FOLDER.glob("*/*.css"))]  # a tab's own words come last
# no font is fetched: the system's, Korean ones after them
FONTS = ["system-ui", "Apple SD Gothic Neo", "Malgun Gothic", "Noto Sans KR", "Noto Sans CJK KR", "sans-serif"]
MONOSPACE = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]
PINE = Color(
    *("#effaf7", "#d4f2ea", "#a9e3d6", "#74cebd", "#43b2a1"),
    *("#219685", "#13766b", "#115f57", "#124c47", "#123f3b", "#04231f"),
    name="pine",
)
STONE = Color(
    *("#faf9f7", "#f3f2ef", "#e6e4df", "#d5d2cc", "#a8a39c"),
    *("#857f78", "#5c5751", "#433f3b", "#2b2826", "#1d1b19", "#131211"),
    name="stone",
)
TEXT = Size("11px", "12px", "13px", "15px", "17px", "21px", "26px", name="text_studio")
RADIUS = Size("2px", "4px", "6px", "8px", "10px", "12px", "16px", name="radius_studio")
# texts have a contrast of 4.5 at least, lines of controls 3, in light and dark
LOOK: dict[str, Any] = {
    "body_background_fill": "*neutral_50",
    "body_background_fill_dark": "*neutral_950",
    "body_text_color": "*neutral_900",
    "body_text_color_subdued": "*neutral_600",
    "body_text_color_subdued_dark": "*neutral_400",
    "background_fill_primary_dark": "*neutral_900",
    "background_fill_secondary": "*neutral_100",
    "background_fill_secondary_dark": "*neutral_800",
    "border_color_primary_dark": "*neutral_700",
    "color_accent": "*primary_600",
    "link_text_color": "*primary_600",
    "link_text_color_hover": "*primary_700",
    "link_text_color_active": "*primary_700",
    "link_text_color_visited": "*primary_600",
    "link_text_color_dark": "*primary_300",
    "link_text_color_hover_dark": "*primary_200",
    "link_text_color_active_dark": "*primary_200",
    "link_text_color_visited_dark": "*primary_300",
    "block_background_fill_dark": "*neutral_900",
    "block_radius": "*radius_lg",
    "container_radius": "*radius_lg",
    "block_label_background_fill": "transparent",
    "block_label_background_fill_dark": "transparent",
    "block_label_border_width": "0px",
    "block_label_text_color": "*neutral_800",
    "block_label_text_color_dark": "*neutral_100",
    "block_label_text_weight": "600",
    "block_title_text_color": "*neutral_800",
    "block_title_text_color_dark": "*neutral_100",
    "block_title_text_size": "*text_md",
    "block_title_text_weight": "600",
    "layout_gap": "*spacing_xl",
    "input_background_fill": "white",
    "input_background_fill_dark": "*neutral_950",
    "input_border_width": "1px",
    "input_border_color": "*neutral_500",
    "input_border_color_dark": "*neutral_500",
    "input_border_color_hover": "*neutral_600",
    "input_border_color_hover_dark": "*neutral_400",
    "input_border_color_focus": "*primary_600",
    "input_border_color_focus_dark": "*primary_400",
    "input_shadow_focus": "0 0 0 1px *primary_600",
    "input_shadow_focus_dark": "0 0 0 1px *primary_400",
    "input_padding": "*spacing_lg",
    "input_radius": "*radius_sm",
    "input_placeholder_color": "*neutral_600",
    "input_placeholder_color_dark": "*neutral_400",
    "checkbox_border_width": "1px",
    "checkbox_border_color": "*neutral_500",
    "checkbox_border_color_dark": "*neutral_500",
    "checkbox_border_color_hover": "*primary_600",
    "checkbox_border_color_hover_dark": "*primary_400",
    "checkbox_border_color_focus_dark": "*primary_400",
    "checkbox_background_color_dark": "*neutral_950",
    "checkbox_background_color_selected": "*primary_600",
    "checkbox_background_color_selected_dark": "*primary_500",
    "checkbox_border_color_selected_dark": "*primary_400",
    "checkbox_border_radius": "*radius_xs",
    "checkbox_label_background_fill": "*background_fill_primary",
    "checkbox_label_background_fill_dark": "*background_fill_primary",
    "checkbox_label_background_fill_hover": "*neutral_100",
    "checkbox_label_background_fill_hover_dark": "*neutral_800",
    "checkbox_label_background_fill_selected": "*primary_50",
    "checkbox_label_background_fill_selected_dark": "*primary_950",
    "checkbox_label_border_width": "1px",
    "checkbox_label_border_color": "*neutral_500",
    "checkbox_label_border_color_dark": "*neutral_500",
    "checkbox_label_border_color_selected": "*primary_600",
    "checkbox_label_border_color_selected_dark": "*primary_400",
    "checkbox_label_gap": "*spacing_md",
    "checkbox_label_padding": "*spacing_md *spacing_lg",
    "button_border_width": "1px",
    "button_transition": "background-color .15s ease",
    "button_primary_background_fill": "*primary_600",
    "button_primary_background_fill_hover": "*primary_700",
    "button_primary_background_fill_hover_dark": "*primary_700",
    "button_primary_border_color": "*primary_600",
    "button_primary_border_color_hover": "*primary_700",
    "button_primary_border_color_dark": "*primary_400",
    "button_primary_border_color_hover_dark": "*primary_400",
    "button_secondary_background_fill": "*background_fill_primary",
    "button_secondary_background_fill_dark": "*neutral_800",
    "button_secondary_background_fill_hover": "*neutral_100",
    "button_secondary_background_fill_hover_dark": "*neutral_700",
    "button_secondary_border_color": "*neutral_500",
    "button_secondary_border_color_dark": "*neutral_500",
    "button_secondary_border_color_hover": "*neutral_600",
    "button_secondary_border_color_hover_dark": "*neutral_400",
    "button_secondary_text_color": "*neutral_900",
    "button_secondary_text_color_dark": "*neutral_50",
    "button_large_text_size": "*text_md",
    "button_medium_text_weight": "500",
    "button_small_text_weight": "500",
    "button_small_padding": "*spacing_sm *spacing_lg",
    "error_border_color": "#c62828",
    "error_border_color_dark": "#ef5350",
    "chatbot_text_size": "*text_md",
    "slider_color": "*primary_600",
    "slider_color_dark": "*primary_400",
    "stat_background_fill": "*primary_600",
    "table_border_color": "*neutral_200",
    "table_even_background_fill_dark": "*neutral_900",
    "table_odd_background_fill": "white",
    "table_odd_background_fill_dark": "*neutral_900",
    "table_row_focus": "*primary_50",
    "table_row_focus_dark": "*neutral_800",
    "code_background_fill_dark": "*neutral_950",
}


def theme() -> gr.themes.Base:
    """Return the page's theme."""
    return gr.themes.Base(
        primary_hue=PINE,
        secondary_hue=PINE,
        neutral_hue=STONE,
        text_size=TEXT,
        radius_size=RADIUS,
        font=FONTS,
        font_mono=MONOSPACE,
    ).set(**LOOK)
